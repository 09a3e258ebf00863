--- What a rewrite or a draft works on: a visual selection, lines, a motion, or the paragraph at the cursor.
local M = {}

M.operator = 'rewrite' ---@type string which command the operator runs

---@class redraft.Selection
---@field buffer integer
---@field row integer
---@field column integer in bytes
---@field end_row integer
---@field end_column integer in bytes, exclusive

---@param buffer integer
---@param row integer
---@return string
local function line_at(buffer, row)
  return vim.api.nvim_buf_get_lines(buffer, row, row + 1, false)[1] or ''
end

--- Whole lines.
---@param first integer from 1
---@param last integer
---@return redraft.Selection
function M.lines(first, last)
  local buffer = vim.api.nvim_get_current_buf()
  local stop = #line_at(buffer, last - 1)
  return { buffer = buffer, row = first - 1, column = 0, end_row = last - 1, end_column = stop }
end

--- From one mark to another, the last character with it.
---@param from string
---@param to string
---@return redraft.Selection
local function characters(from, to)
  local buffer = vim.api.nvim_get_current_buf()
  local first, last = vim.api.nvim_buf_get_mark(buffer, from), vim.api.nvim_buf_get_mark(buffer, to)
  local line = line_at(buffer, last[1] - 1)
  local column = math.min(last[2], #line)
  if vim.o.selection ~= 'exclusive' and column < #line then
    column = column + vim.str_utf_end(line, column + 1) + 1
  end
  return { buffer = buffer, row = first[1] - 1, column = first[2], end_row = last[1] - 1, end_column = column }
end

---@return redraft.Selection
local function paragraph()
  local row = vim.fn.line('.')
  if line_at(0, row - 1):match('^%s*$') then
    return M.lines(row, row)
  end
  local first, last = row, row
  while first > 1 and line_at(0, first - 2):match('%S') do
    first = first - 1
  end
  while last < vim.fn.line('$') and line_at(0, last):match('%S') do
    last = last + 1
  end
  return M.lines(first, last)
end

--- What a command was called on. `'<,'>` after a characterwise selection means just that.
---@param call vim.api.keyset.create_user_command.command_args
---@return redraft.Selection
function M.of(call)
  if call.range == 0 then
    return paragraph()
  end
  local first, last = vim.api.nvim_buf_get_mark(0, '<'), vim.api.nvim_buf_get_mark(0, '>')
  if vim.fn.visualmode() == 'v' and first[1] == call.line1 and last[1] == call.line2 then
    return characters('<', '>')
  end
  return M.lines(call.line1, call.line2)
end

--- The operator's function: a motion was made.
---@param kind 'line'|'char'|'block'
function M.opfunc(kind)
  local selected
  if kind == 'char' then
    selected = characters('[', ']')
  else
    selected = M.lines(vim.fn.line("'["), vim.fn.line("']"))
  end
  require('redraft.' .. M.operator).start(selected)
end

--- As an LSP range.
---@param selected redraft.Selection
---@param encoding string
function M.range(selected, encoding)
  local function position(row, column)
    local line = line_at(selected.buffer, row)
    return { line = row, character = vim.str_utfindex(line, encoding, math.min(column, #line), false) }
  end
  return {
    start = position(selected.row, selected.column),
    ['end'] = position(selected.end_row, selected.end_column),
  }
end

return M
