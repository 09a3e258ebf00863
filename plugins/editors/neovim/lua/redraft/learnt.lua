--- `:Redraft learnt`: what became of the edit cost, by week and by adapter.
local M = {}

local BARS = { '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█' }

--- Costs as bars, the highest for a cost of 1; a dot for a week without any.
---@param costs (number|vim.NIL)[]
---@return string
local function bars(costs)
  return table.concat(vim.tbl_map(function(cost)
    return type(cost) == 'number' and BARS[math.min(#BARS, 1 + math.floor(cost * #BARS))] or '·'
  end, costs))
end

---@param cost any
---@return string
local function percent(cost)
  return type(cost) == 'number' and ('%.0f %%'):format(cost * 100) or '–'
end

--- A table in which every column is as wide as its widest cell.
---@param rows string[][]
---@return string[]
local function aligned(rows)
  local widths = {} ---@type integer[]
  for _, row in ipairs(rows) do
    for index, cell in ipairs(row) do
      widths[index] = math.max(widths[index] or 0, vim.fn.strdisplaywidth(cell))
    end
  end
  return vim.tbl_map(function(row)
    local cells = {}
    for index, cell in ipairs(row) do
      local blank = (' '):rep(widths[index] - vim.fn.strdisplaywidth(cell))
      cells[index] = index == 1 and cell .. blank or blank .. cell
    end
    return vim.trim(table.concat(cells, '  '))
  end, rows)
end

---@param result table of `redraft.learnt`
---@return string[]
function M.lines(result)
  local lines = { '# What Redraft learnt', '', result.text, '' }
  local names = vim.tbl_map(function(arm)
    return arm.arm
  end, result.arms)
  if #result.weeks > 0 then
    vim.list_extend(lines, { '## How much of an offer you change, by week', '' })
    local rows = { { 'week', 'edits', 'all', unpack(names) } }
    for _, week in ipairs(result.weeks) do
      local row = { week.week, tostring(week.edits), percent(week.cost_max) }
      for _, name in ipairs(names) do
        row[#row + 1] = percent(week.arms[name])
      end
      rows[#rows + 1] = row
    end
    vim.list_extend(lines, aligned(rows))
    local drawn = { { 'all', bars(vim.tbl_map(function(week)
      return week.cost_max
    end, result.weeks)) } }
    for _, name in ipairs(names) do
      drawn[#drawn + 1] = { name, bars(vim.tbl_map(function(week)
        return week.arms[name]
      end, result.weeks)) }
    end
    vim.list_extend(lines, { '' })
    vim.list_extend(lines, aligned(drawn))
  end
  if #result.arms > 0 then
    vim.list_extend(lines, { '', '## By adapter', '' })
    local rows = { { 'adapter', 'offers', 'changed', 'left alone' } }
    for _, arm in ipairs(result.arms) do
      rows[#rows + 1] = { arm.arm, tostring(arm.offers), percent(arm.cost_max), percent(arm.untouched) }
    end
    vim.list_extend(lines, aligned(rows))
  end
  if #result.adapters > 0 then
    vim.list_extend(lines, { '', '## Adapters', '' })
    for _, adapter in ipairs(result.adapters) do
      lines[#lines + 1] = ('%s: %s'):format(adapter.name or adapter.id, adapter.state)
    end
  end
  return vim.split(table.concat(lines, '\n'), '\n', { plain = true })
end

--- Show it in a window of its own; `q` closes it.
---@param result table
function M.show(result)
  vim.cmd.new()
  local buffer = vim.api.nvim_get_current_buf()
  vim.bo[buffer].buftype, vim.bo[buffer].bufhidden, vim.bo[buffer].swapfile = 'nofile', 'wipe', false
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, M.lines(result))
  vim.bo[buffer].modifiable = false
  vim.bo[buffer].syntax = 'markdown'
  vim.wo[0][0].wrap = false
  vim.keymap.set('n', 'q', '<Cmd>close<CR>', { buffer = buffer, nowait = true })
end

return M
