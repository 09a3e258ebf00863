--- Requests that take a while: rewrites, drafts, training. They show how far they are, and can be stopped.
local say = require('redraft.say')

local M = {}

local running = {} ---@type table<integer, redraft.Request>

--- A request is over.
---@param request redraft.Request?
local function done(request)
  if request then
    running[request.id] = nil
  end
  vim.api.nvim_echo({ { '' } }, false, {})
end

--- Start a command of the server; `:Redraft stop` ends it.
---@param client vim.lsp.Client
---@param name string
---@param argument table?
---@param on_result fun(result: table)
function M.start(client, name, argument, on_result)
  local request ---@type redraft.Request?
  request = require('redraft.server').run(client, name, argument, function(result)
    done(request)
    on_result(result)
  end, function(message)
    done(request)
    say.now(message, vim.log.levels.WARN)
  end)
  if request then
    running[request.id] = request
  end
end

--- Stop everything that was started. Neovim passes no answer on to a request that it cancelled.
---@return integer how many there were
function M.stop()
  local count = 0
  for _, request in pairs(running) do
    if request.client.requests[request.id] then
      request.client:cancel_request(request.id)
      count = count + 1
    end
    done(request)
  end
  return count
end

---@param value table a progress value of the LSP
local function show(value)
  if value.kind == 'end' or not next(running) then
    return
  end
  local share = value.percentage and (' %d %%'):format(value.percentage) or ''
  local words = ('%s…%s'):format(value.title or 'Redraft', share)
  if value.message and value.message ~= '' then
    words = words .. ' ' .. value.message:gsub('%s+', ' ')
  end
  local width = math.max(0, vim.v.echospace - #'Redraft: ')
  vim.api.nvim_echo({ { 'Redraft: ', 'Comment' }, { vim.fn.strcharpart(words, 0, width) } }, false, {})
end

vim.api.nvim_create_autocmd('LspProgress', {
  group = vim.api.nvim_create_augroup('redraft.progress', {}),
  callback = function(args)
    local client = vim.lsp.get_client_by_id(args.data.client_id)
    if client and client.name == 'redraft' and type(args.data.params.value) == 'table' then
      show(args.data.params.value)
    end
  end,
})

return M
