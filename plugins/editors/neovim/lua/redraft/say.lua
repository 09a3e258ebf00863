--- Messages: one at a time, in plain words, and the same one once. None ever makes the user press ENTER.
local M = {}

local LEVEL = vim.log.levels
local SECONDS = 8
local WIDEST = 72

local said = {} ---@type table<string, boolean>
local window ---@type integer?

--- Whether a plugin shows messages its own way.
---@return boolean
local function shown_elsewhere()
  return not debug.getinfo(vim.notify, 'S').source:find('_editor.lua', 1, true)
end

local function close()
  if window and vim.api.nvim_win_is_valid(window) then
    vim.api.nvim_win_close(window, true)
  end
  window = nil
end

--- Show what does not fit in one line in a small window above the status line, for a while.
---@param words string
local function float(words)
  close()
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, vim.split(words, '\n', { plain = true }))
  vim.bo[buffer].bufhidden = 'wipe'
  local width = math.min(WIDEST, vim.o.columns - 4)
  local opened = vim.api.nvim_open_win(buffer, false, {
    relative = 'editor', anchor = 'SE', row = vim.o.lines - vim.o.cmdheight - 1, col = vim.o.columns,
    width = width, height = 1, border = 'rounded', style = 'minimal', focusable = false, noautocmd = true,
  })
  vim.wo[opened].wrap, vim.wo[opened].linebreak = true, true
  vim.api.nvim_win_set_height(opened, vim.api.nvim_win_text_height(opened, {}).all)
  window = opened
  vim.defer_fn(function()
    if window == opened then
      close()
    end
  end, SECONDS * 1000)
end

--- Put a long message where `:messages` finds it, without the prompt that follows long messages.
---@param words string
local function remember(words)
  local before = vim.o.messagesopt
  vim.o.messagesopt = 'wait:0,history:500'
  vim.api.nvim_echo({ { words } }, true, {})
  vim.cmd.redraw()
  vim.o.messagesopt = before
end

---@param words string
---@param level integer
local function show(words, level)
  if shown_elsewhere() then
    vim.notify(words, level, { title = 'Redraft' })
  elseif vim.fn.strdisplaywidth(words) <= vim.v.echospace then
    vim.cmd.redraw()
    vim.api.nvim_echo({ { words, level >= LEVEL.WARN and 'WarningMsg' or nil } }, true, {})
  else
    remember(words)
    float(words)
  end
end

--- Say something now.
---@param words string
---@param level? integer of vim.log.levels, INFO by default
function M.now(words, level)
  vim.schedule(function()
    show(vim.startswith(words, 'Redraft') and words or 'Redraft: ' .. words, level or LEVEL.INFO)
  end)
end

--- Say something that is worth saying once in a session.
---@param words string
---@param level? integer of vim.log.levels, WARN by default
function M.once(words, level)
  if not said[words] then
    said[words] = true
    M.now(words, level or LEVEL.WARN)
  end
end

--- What was said before may be said again: the user asked for a new start.
function M.reset()
  said = {}
end

return M
