--- Ghost text on the screen: the first line where the cursor is, the others under it.
local M = {}

local namespace = vim.api.nvim_create_namespace('redraft.ghost')
local shown_in ---@type integer? the buffer that holds the mark

vim.api.nvim_set_hl(0, 'RedraftGhost', { link = 'NonText', default = true })

--- A text with its tabs as wide as they would be: virtual text shows none.
---@param buffer integer
---@param line string
local function expanded(buffer, line)
  return (line:gsub('\t', (' '):rep(vim.bo[buffer].tabstop)))
end

--- A line in pieces that fit on the screen, broken at words as 'linebreak' would break it.
---@param line string
---@param width integer of a screen line
---@param used integer of the first one
---@return string[]
local function broken(line, width, used)
  local pieces, piece = {}, ''
  for word in line:gmatch('%s*%S+') do
    if used + vim.fn.strdisplaywidth(word) > width and (used > 0 or piece ~= '') then
      pieces[#pieces + 1] = piece
      piece, used = '', 0
      word = vim.trim(word)
    end
    piece, used = piece .. word, used + vim.fn.strdisplaywidth(word)
  end
  pieces[#pieces + 1] = piece .. line:match('%s*$')
  return pieces
end

--- The lines to draw: as they are, or broken at words where the window breaks its text so.
---@param text string
---@return string[]
local function laid_out(text)
  local lines = vim.split(text, '\n', { plain = true })
  if not (vim.wo.wrap and vim.wo.linebreak) then
    return lines
  end
  local width = vim.api.nvim_win_get_width(0) - vim.fn.getwininfo(vim.api.nvim_get_current_win())[1].textoff
  local used = (vim.fn.virtcol('.') - 1) % width
  local found = {}
  for index, line in ipairs(lines) do
    vim.list_extend(found, broken(line, width, index == 1 and used or 0))
  end
  return found
end

--- Draw `text` at the cursor, in place of what was drawn before.
---@param buffer integer
---@param text string
function M.draw(buffer, text)
  M.clear()
  local cursor = vim.api.nvim_win_get_cursor(0)
  local lines = laid_out(text)
  local below = {}
  for index = 2, #lines do
    below[#below + 1] = { { expanded(buffer, lines[index]), 'RedraftGhost' } }
  end
  vim.api.nvim_buf_set_extmark(buffer, namespace, cursor[1] - 1, cursor[2], {
    virt_text = { { expanded(buffer, lines[1]), 'RedraftGhost' } },
    virt_text_pos = 'inline',
    virt_lines = #below > 0 and below or nil,
    hl_mode = 'combine',
  })
  shown_in = buffer
end

--- Take it away.
function M.clear()
  if shown_in and vim.api.nvim_buf_is_valid(shown_in) then
    vim.api.nvim_buf_clear_namespace(shown_in, namespace, 0, -1)
  end
  shown_in = nil
end

---@return boolean
function M.shown()
  return shown_in ~= nil
end

return M
