--- `:checkhealth redraft`.
local M = {}

local SECONDS = 10

local function neovim()
  local version = tostring(vim.version())
  if vim.fn.has('nvim-0.11') == 0 then
    vim.health.error(('Neovim %s is too old'):format(version), 'Redraft needs Neovim 0.11 or newer.')
    return
  end
  local by = vim.lsp.inline_completion and "shows ghost text with Neovim's own" or 'shows ghost text by itself'
  vim.health.ok(('Neovim %s; Redraft %s'):format(version, by))
end

---@return boolean
local function executable()
  local command = require('redraft.options').get().cmd
  local found = vim.fn.exepath(command[1])
  if found == '' then
    vim.health.error(
      ('%s is not on the PATH'):format(command[1]),
      'Run `pip install redraft`, or name it with require("redraft").setup{ cmd = { … } }.'
    )
    return false
  end
  vim.health.ok(('the server is %s'):format(found))
  return true
end

---@param client vim.lsp.Client
local function attached(client)
  local version = (client.server_info or {}).version or 'unknown'
  local fits = require('redraft.server').fits(version)
  local words = ('server %s, plugin %s'):format(version, require('redraft').version)
  if fits then
    vim.health.ok(words)
  else
    vim.health.error(words, 'Install matching versions of both.')
  end
  local buffers = vim.tbl_count(client.attached_buffers)
  vim.health.ok(('it follows %d buffer%s'):format(buffers, buffers == 1 and '' or 's'))
end

---@param status table of `redraft.status`
local function server(status)
  vim.health.info(status.text)
  if status.state == 'error' then
    vim.health.error('the model host cannot be reached', 'Run `learner setup`, or see host in :help redraft-options.')
  else
    vim.health.ok(('state: %s; model: %s'):format(status.state, status.model or 'none yet'))
  end
  if status.recording then
    vim.health.ok(('edits are recorded in %s'):format(status.database))
  elseif status.consent == 'unasked' then
    vim.health.warn('nothing is recorded, so nothing is learnt', ':Redraft consent ask')
  else
    vim.health.ok(('nothing is recorded (consent: %s)'):format(status.consent))
  end
end

local function keys()
  local mapped = require('redraft.keys').mapped
  for name, lhs in vim.spairs(mapped) do
    vim.health.ok(('%s: %s'):format(vim.fn.keytrans(vim.keycode(lhs)), require('redraft.keys').known[name].says))
  end
  for name, lhs in vim.spairs(require('redraft.keys').left) do
    vim.health.info(('%s was mapped already and is left alone (%s)'):format(lhs, name))
  end
end

--- Look at everything that Redraft needs.
function M.check()
  vim.health.start('Redraft')
  neovim()
  if not executable() then
    return
  end
  local client = vim.lsp.get_clients({ name = 'redraft' })[1]
  if not client then
    local problem = require('redraft.server').problem()
    if problem then
      vim.health.error(problem)
    else
      vim.health.warn('it runs in no buffer', { "vim.lsp.enable('redraft'), or require('redraft').setup()", 'open a file' })
    end
    return
  end
  attached(client)
  local body = { command = 'redraft.status', arguments = { { workspace = require('redraft.server').workspace(client) } } }
  local answer, problem = client:request_sync('workspace/executeCommand', body, SECONDS * 1000)
  if answer and answer.result then
    server(answer.result)
  else
    vim.health.error('the server does not answer: ' .. (problem or answer and answer.err.message or 'it ended'))
  end
  vim.health.start('Redraft: keys')
  keys()
end

return M
