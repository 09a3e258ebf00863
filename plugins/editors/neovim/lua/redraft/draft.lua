--- Drafts: a new text from the selected notes, under them.
local selection = require('redraft.selection')
local server = require('redraft.server')

local M = {}

--- The kinds that the server knows.
M.kinds = { 'summary', 'email', 'docstring', 'commit' }

---@param selected redraft.Selection
---@param kind string
local function draft(selected, kind)
  local client = server.need(true)
  if client then
    require('redraft.rewrite').request(client, 'draft', {
      uri = vim.uri_from_bufnr(selected.buffer),
      range = selection.range(selected, client.offset_encoding),
      kind = kind,
    }, false)
  end
end

--- Draft from a selection.
---@param selected redraft.Selection
---@param kind? string
function M.start(selected, kind)
  if not require('redraft.rewrite').changeable(selected.buffer) then
    return
  end
  if kind and kind ~= '' then
    draft(selected, kind)
    return
  end
  vim.ui.select(M.kinds, { prompt = 'Draft', kind = 'redraft' }, function(choice)
    if choice then
      draft(selected, choice)
    end
  end)
end

return M
