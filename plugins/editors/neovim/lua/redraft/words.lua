--- Which words of two texts differ: a line of prose is too long to be marked as a whole.
local M = {}

local namespace = vim.api.nvim_create_namespace('redraft.words')

---@class redraft.Word
---@field row integer
---@field from integer in bytes
---@field to integer
---@field text string

---@param lines string[]
---@return redraft.Word[]
local function words(lines)
  local found = {}
  for row, line in ipairs(lines) do
    for from, text, to in line:gmatch('()(%S+)()') do
      found[#found + 1] = { row = row - 1, from = from - 1, to = to - 1, text = text }
    end
  end
  return found
end

---@param list redraft.Word[]
local function joined(list)
  local texts = vim.tbl_map(function(word)
    return word.text
  end, list)
  return table.concat(texts, '\n') .. '\n'
end

---@param buffer integer
---@param list redraft.Word[]
---@param first integer
---@param count integer
local function mark(buffer, list, first, count)
  for index = first, first + count - 1 do
    local word, following = list[index], list[index + 1]
    local on = index < first + count - 1 and following.row == word.row and following.from or word.to
    vim.api.nvim_buf_set_extmark(buffer, namespace, word.row, word.from, {
      end_col = on,
      hl_group = 'RedraftWord',
      priority = 300,
    })
  end
end

--- Define the colour: DiffText as it is in the current window, not a link, which a window could turn elsewhere.
function M.define()
  local as = vim.api.nvim_get_hl(0, { name = 'DiffText', link = false })
  vim.api.nvim_set_hl(0, 'RedraftWord', vim.tbl_extend('force', as, { default = true }))
  vim.api.nvim_set_hl(0, 'RedraftSame', { default = true })
end

--- Mark the words of either buffer that the other has not.
---@param left integer buffer
---@param right integer buffer
function M.mark(left, right)
  local before = words(vim.api.nvim_buf_get_lines(left, 0, -1, false))
  local after = words(vim.api.nvim_buf_get_lines(right, 0, -1, false))
  local hunks = vim.diff(joined(before), joined(after), { result_type = 'indices' }) --[[@as integer[][] ]]
  for _, hunk in ipairs(hunks) do
    mark(left, before, hunk[1], hunk[2])
    mark(right, after, hunk[3], hunk[4])
  end
end

return M
