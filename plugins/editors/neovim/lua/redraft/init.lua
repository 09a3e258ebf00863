--- Redraft for Neovim: ghost text, rewrites and drafts from `redraft-lsp`, which learns from what you keep.
local M = {}

--- The version of this plugin: it fits servers of the same major and minor number.
M.version = '0.1'

--- Take the options and start. One message names the key that is wrong; Redraft then stays off.
---@param given? redraft.Options
function M.setup(given)
  local options = require('redraft.options')
  local problem = options.set(given)
  if problem then
    require('redraft.say').once(problem, vim.log.levels.ERROR)
    vim.lsp.enable('redraft', false)
    return
  end
  if not vim.g.loaded_redraft then
    vim.cmd.runtime('plugin/redraft.lua')
  end
  require('redraft.keys').map(options.get().keymaps)
  if options.get().enable then
    vim.lsp.enable('redraft')
  end
end

--- A few words for a statusline: `Redraft ●`, `Redraft thinking`, `Redraft paused`, `Redraft off: <why>`.
---@return string
function M.status()
  return require('redraft.status').words()
end

return M
