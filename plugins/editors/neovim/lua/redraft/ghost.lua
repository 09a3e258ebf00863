--- Ghost text for Neovim 0.11: asked for on typing, kept while it is typed, accepted whole or in part.
local screen = require('redraft.screen')

local M = {}

local AUTOMATIC, INVOKED = 2, 1
local ENCODING = 'utf-16'

---@class redraft.Ghost
---@field client vim.lsp.Client
---@field buffer integer
---@field item table as the server answered
---@field offer string
---@field text string all of it
---@field row integer where it begins
---@field column integer in bytes

local ghost ---@type redraft.Ghost?
local asking ---@type redraft.Request?
local asked_at ---@type string? where and at which change
local asked_tick ---@type integer?
local dismissed ---@type string? the offer that the user wants to see no more
local told = {} ---@type table<string, boolean> offers that the server knows to be shown

---@return string
local function place()
  local cursor = vim.api.nvim_win_get_cursor(0)
  return ('%d:%d:%d:%d'):format(vim.api.nvim_get_current_buf(), vim.b.changedtick, cursor[1], cursor[2])
end

---@return boolean
local function inserting()
  return vim.api.nvim_get_mode().mode:sub(1, 1) == 'i'
end

local function cancel()
  local request = asking
  asking = nil
  if request and request.client.requests[request.id] then
    request.client:cancel_request(request.id)
  end
end

--- Take the ghost text off the screen and stop asking.
function M.hide()
  cancel()
  ghost, asked_at = nil, nil
  screen.clear()
end

--- What of the ghost text stands before the cursor, None where something else does.
---@param shown redraft.Ghost
---@return string? prefix
local function typed(shown)
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, column = cursor[1] - 1, cursor[2]
  if row < shown.row or (row == shown.row and column < shown.column) then
    return nil
  end
  local lines = vim.api.nvim_buf_get_text(shown.buffer, shown.row, shown.column, row, column, {})
  local prefix = table.concat(lines, '\n')
  return vim.startswith(shown.text, prefix) and prefix or nil
end

--- What is still to come of it at the cursor; empty where there is none.
---@return string
function M.remainder()
  if not ghost or ghost.buffer ~= vim.api.nvim_get_current_buf() then
    return ''
  end
  local prefix = typed(ghost)
  return prefix and ghost.text:sub(#prefix + 1) or ''
end

---@return boolean
function M.visible()
  return screen.shown() and M.remainder() ~= ''
end

---@param shown redraft.Ghost
local function tell_shown(shown)
  if not told[shown.offer] then
    told[shown.offer] = true
    shown.client:notify('textDocument/didShowCompletion', { item = shown.item })
  end
end

--- Draw what remains, or take it away.
local function draw()
  local rest = M.remainder()
  if rest == '' or not ghost or vim.fn.pumvisible() == 1 then
    ghost = nil
    screen.clear()
    return
  end
  screen.draw(ghost.buffer, rest)
  tell_shown(ghost)
end

---@param client vim.lsp.Client
---@param buffer integer
---@param answer table?
local function answered(client, buffer, answer)
  local item = answer and (answer.items or answer)[1]
  local argument = item and item.command and (item.command.arguments or {})[1]
  local offer = argument and argument.offerId or ''
  if not item or offer == dismissed then
    ghost = nil
    draw()
    return
  end
  local start = item.range.start
  local line = vim.api.nvim_buf_get_lines(buffer, start.line, start.line + 1, false)[1] or ''
  local column = vim.str_byteindex(line, client.offset_encoding, start.character, false)
  local text = (item.insertText.value or item.insertText):gsub('\r\n?', '\n')
  ghost = { client = client, buffer = buffer, item = item, offer = offer, text = text, row = start.line, column = column }
  draw()
end

---@param client vim.lsp.Client
---@param buffer integer
---@param by_hand boolean
local function ask(client, buffer, by_hand)
  local here = place()
  if here == asked_at and not by_hand then
    return
  end
  cancel()
  asked_at, asked_tick = here, vim.b.changedtick
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = by_hand and INVOKED or AUTOMATIC }
  local mine ---@type redraft.Request?
  local sent, id = client:request('textDocument/inlineCompletion', params, function(problem, answer)
    if asking ~= mine then
      return -- a newer request took its place
    end
    asking = nil
    if problem and by_hand then
      require('redraft.say').now(problem.message, vim.log.levels.WARN)
    end
    if problem or not inserting() or place() ~= here then
      return
    end
    answered(client, buffer, answer)
    if by_hand and not ghost then
      require('redraft.commands').why()
    end
  end, buffer)
  mine = sent and id and { client = client, id = id } or nil
  asking = mine
end

--- The text or the cursor moved.
---@param client vim.lsp.Client
---@param buffer integer
---@param changed boolean whether the text did
local function moved(client, buffer, changed)
  if vim.fn.pumvisible() == 1 then
    M.hide()
    return
  end
  local newer = vim.b[buffer].changedtick ~= asked_tick
  if ghost and newer then
    draw()
  end
  local ghost_text = require('redraft.options').get().ghost_text
  local off = not ghost_text.enabled or vim.tbl_contains(ghost_text.disabled_languages, vim.bo[buffer].filetype)
  if changed and not off and vim.bo[buffer].modifiable then
    ask(client, buffer, false)
  elseif changed or not newer and place() ~= asked_at then
    M.hide()
  end
end

--- Follow the typing in a buffer.
---@param client vim.lsp.Client
---@param buffer integer
function M.attach(client, buffer)
  local group = vim.api.nvim_create_augroup(('redraft.ghost.%d'):format(buffer), {})
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, buffer = buffer, callback = callback })
  end
  on({ 'TextChangedI' }, function()
    moved(client, buffer, true)
  end)
  on({ 'CursorMovedI' }, function()
    -- comes before TextChangedI for the same key, and leaves the asking to it
    moved(client, buffer, false)
  end)
  on({ 'TextChangedP', 'InsertLeave', 'BufLeave' }, M.hide)
  on({ 'LspDetach' }, function(args)
    if args.data.client_id == client.id then
      M.hide()
      vim.api.nvim_del_augroup_by_id(group)
    end
  end)
end

--- Ask at the cursor now, whatever the settings say of asking by itself.
function M.ask()
  local client = require('redraft.server').need(true)
  if not client then
    return
  end
  if not vim.bo.modifiable then
    require('redraft.say').now('this buffer cannot be changed; :set modifiable first.', vim.log.levels.WARN)
  elseif inserting() then
    dismissed = nil
    ask(client, vim.api.nvim_get_current_buf(), true)
  end
end

--- Put a piece at the cursor, as one step of undo.
---@param piece string
local function put(piece)
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, column = cursor[1] - 1, cursor[2]
  local lines = vim.split(piece, '\n', { plain = true })
  vim.api.nvim_buf_set_text(0, row, column, row, column, lines)
  local last = #lines == 1 and column + #lines[1] or #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { row + #lines, last })
end

---@param rest string
---@param how 'all'|'word'|'line'
---@return string
local function piece_of(rest, how)
  local found = rest
  if how == 'word' then
    found = vim.fn.matchstr(rest, [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)]])
  elseif how == 'line' then
    found = rest:match('^\n?[^\n]*')
  end
  return found ~= '' and found or rest
end

--- Accept the ghost text: all of it, the next word, or the rest of the line.
---@param how? 'all'|'word'|'line'
---@return boolean whether there was any
function M.accept(how)
  local rest, shown = M.remainder(), ghost
  if rest == '' or not shown or not vim.bo[shown.buffer].modifiable then
    return false
  end
  local piece = piece_of(rest, how or 'all')
  local length = #shown.text - #rest + #piece
  put(piece)
  if piece == rest then
    M.hide()
    require('redraft.server').run(shown.client, 'accept', { offerId = shown.offer }, nil, function() end)
    return true
  end
  draw()
  local accepted = vim.str_utfindex(shown.text, ENCODING, length, false)
  shown.client:notify('textDocument/didPartiallyAcceptCompletion', { item = shown.item, acceptedLength = accepted })
  return true
end

--- Decline the ghost text: the server does not offer it again.
---@return boolean whether there was any
function M.dismiss()
  local there = M.visible()
  if there and ghost then
    dismissed = ghost.offer
    require('redraft.server').run(ghost.client, 'reject', { offerId = ghost.offer }, nil, function() end)
  end
  M.hide()
  return there
end

return M
