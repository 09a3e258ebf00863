--- What Redraft is doing, as the server says (`redraft/status`).
local M = {}

local state, text = 'off', 'not started' ---@type string, string

--- Take what the server says. `User RedraftStatus` tells statuslines.
---@param now string ready, thinking, paused, error
---@param words? string
function M.note(now, words)
  state, text = now, words or ''
  vim.schedule(function()
    vim.api.nvim_exec_autocmds('User', { pattern = 'RedraftStatus', modeline = false })
    vim.cmd.redrawstatus({ bang = true })
  end)
end

---@return string state
---@return string text
function M.get()
  return state, text
end

--- Why nothing is offered in the current buffer, None where something is.
---@return string?
local function off()
  local server = require('redraft.server')
  if not server.client() then
    local problem = server.problem()
    local why = problem or server.refusal(vim.api.nvim_get_current_buf()) or 'not started'
    return (why:gsub('[.:] .*$', ''))
  end
  local ghost = require('redraft.options').get().ghost_text
  if not ghost.enabled then
    return 'ghost_text.enabled'
  elseif vim.tbl_contains(ghost.disabled_languages, vim.bo.filetype) then
    return vim.bo.filetype
  end
end

---@return string
function M.words()
  local why = off()
  if why then
    return 'Redraft off: ' .. why
  elseif state == 'ready' then
    return 'Redraft ●'
  elseif state == 'error' then
    return 'Redraft off: ' .. (text ~= '' and text or 'error')
  end
  return 'Redraft ' .. state
end

return M
