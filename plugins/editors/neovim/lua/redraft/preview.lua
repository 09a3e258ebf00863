--- A rewrite as a diff, before it is put in: what stands on the left, what would stand on the right.
local say = require('redraft.say')
local server = require('redraft.server')

local M = {}

local WIDEST, NARROWEST = 160, 70

---@class redraft.Preview
---@field client vim.lsp.Client
---@field offer string
---@field windows integer[]
---@field origin integer window
---@field decided boolean

--- The lines around the change, now and as they would be.
---@param client vim.lsp.Client
---@param result table of `redraft.rewrite` with `preview`
---@return string[]? now nil where the lines are gone
---@return string[]? after
local function both(client, result)
  local buffer = vim.uri_to_bufnr(result.uri)
  local first, last = result.range.start, result.range['end']
  local now = vim.api.nvim_buf_get_lines(buffer, first.line, last.line + 1, false)
  if #now == 0 then
    return nil, nil
  end
  local function byte(line, position)
    return vim.str_byteindex(line, client.offset_encoding, position.character, false)
  end
  local head = now[1]:sub(1, byte(now[1], first))
  local tail = now[#now]:sub(byte(now[#now], last) + 1)
  local after = vim.split(head .. result.newText:gsub('\r\n?', '\n') .. tail, '\n', { plain = true })
  return now, after
end

---@param lines string[]
---@param filetype string
---@return integer buffer
local function scratch(lines, filetype)
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].bufhidden = 'wipe'
  vim.bo[buffer].syntax = filetype
  vim.bo[buffer].modifiable = false
  return buffer
end

---@param lines string[]
---@param width integer
local function height(lines, width)
  local rows = 0
  for _, line in ipairs(lines) do
    rows = rows + math.max(1, math.ceil(vim.fn.strdisplaywidth(line) / width))
  end
  return rows
end

--- Where the two windows go: side by side, or one above the other where the screen is narrow.
---@param now string[]
---@param after string[]
---@param under integer the screen line under the text, 0 where it is not on the screen
local function layout(now, after, under)
  local columns, rows = vim.o.columns, vim.o.lines - vim.o.cmdheight
  local beside = columns >= NARROWEST
  local whole = math.min(columns - 2, WIDEST)
  local width = beside and math.floor(whole / 2) - 2 or whole - 2
  local wanted = math.max(height(now, width - 1), height(after, width - 1))
  local most = beside and rows - 4 or math.floor(rows / 2) - 3
  local tall = math.max(1, math.min(wanted + 1, most))
  local left = math.floor((columns - whole) / 2)
  local lowest = math.max(0, rows - tall - 3)
  local top = under > 0 and math.min(under, lowest) or lowest
  local second = beside and { top, left + width + 2 } or { tall + 2, left }
  return { width = width, height = tall, { beside and top or 0, left }, second }
end

---@param preview redraft.Preview
local function close(preview)
  for _, window in ipairs(preview.windows) do
    if vim.api.nvim_win_is_valid(window) then
      vim.api.nvim_win_close(window, true)
    end
  end
  if vim.api.nvim_win_is_valid(preview.origin) then
    vim.api.nvim_set_current_win(preview.origin)
  end
end

---@param preview redraft.Preview
---@param put_in boolean
local function decide(preview, put_in)
  if preview.decided then
    return
  end
  preview.decided = true
  close(preview)
  local argument = { offerId = preview.offer }
  if put_in then
    server.run(preview.client, 'apply', argument, function(result)
      if not result.applied then
        say.now(result.reason or 'nothing was put in.', vim.log.levels.WARN)
      end
    end)
  else
    server.run(preview.client, 'reject', argument, nil, function() end) -- one not recorded is not known any more
  end
end

---@param preview redraft.Preview
---@param buffer integer
local function keys(preview, buffer)
  local function map(lhs, put_in, says)
    vim.keymap.set('n', lhs, function()
      decide(preview, put_in)
    end, { buffer = buffer, nowait = true, desc = 'Redraft: ' .. says })
  end
  for _, lhs in ipairs({ 'a', '<CR>' }) do
    map(lhs, true, 'put this text in')
  end
  for _, lhs in ipairs({ 'q', '<Esc>' }) do
    map(lhs, false, 'leave the text as it is')
  end
end

---@param buffer integer
---@param config table
---@return integer window
local function open(buffer, config)
  local window = vim.api.nvim_open_win(buffer, true, config)
  vim.cmd.diffthis()
  -- in a line that changed, only the words that differ are coloured
  vim.wo[window].winhighlight = 'DiffText:RedraftSame,DiffChange:RedraftSame'
  vim.wo[window].wrap, vim.wo[window].linebreak = true, true
  vim.wo[window].foldcolumn, vim.wo[window].foldenable = '0', false
  vim.wo[window].number, vim.wo[window].relativenumber, vim.wo[window].signcolumn = false, false, 'no'
  return window
end

--- Show what would be put in. `a` or <CR> puts it in; `q`, <Esc> or closing it leaves the text as it is.
---@param client vim.lsp.Client
---@param result table of `redraft.rewrite` with `preview`
function M.show(client, result)
  local now, after = both(client, result)
  if not now or not after then
    server.run(client, 'reject', { offerId = result.offerId }, nil, function() end)
    say.now('the text changed meanwhile; nothing was put in.', vim.log.levels.WARN)
    return
  end
  local last = result.range['end'].line
  local place = layout(now, after, vim.fn.screenpos(0, last + 1, math.max(1, #now[#now])).row)
  local preview = { client = client, offer = result.offerId, windows = {}, decided = false }
  require('redraft.words').define()
  preview.origin = vim.api.nvim_get_current_win()
  local filetype = vim.bo[vim.uri_to_bufnr(result.uri)].filetype
  local sides = { { now, ' As it is ', ' q leaves it ' }, { after, ' Rewritten ', ' a puts it in ' } }
  for index, side in ipairs(sides) do
    local buffer = scratch(side[1], filetype)
    keys(preview, buffer)
    preview.windows[index] = open(buffer, {
      relative = 'editor', row = place[index][1], col = place[index][2],
      width = place.width, height = place.height, border = 'rounded', style = 'minimal',
      title = side[2], title_pos = 'center', footer = side[3], footer_pos = 'center',
    })
    vim.api.nvim_create_autocmd('WinClosed', {
      pattern = tostring(preview.windows[index]),
      once = true,
      callback = vim.schedule_wrap(function()
        decide(preview, false)
      end),
    })
  end
  require('redraft.words').mark(unpack(vim.tbl_map(vim.api.nvim_win_get_buf, preview.windows)))
end

return M
