--- The server: where it is started, with what, and what is said when it cannot be.
local options = require('redraft.options')
local say = require('redraft.say')

local M = {}

local LEVEL = vim.log.levels
local PATIENCE_MS = 5000
local MESSAGE_WARNING = 2 -- MessageType of the LSP; less is worse

--- Why the server is not started any more: it ended by itself, or does not fit.
local stopped ---@type string?
local restarting = false

---@param buffer integer
---@return integer bytes
local function size(buffer)
  return vim.api.nvim_buf_get_offset(buffer, vim.api.nvim_buf_line_count(buffer))
end

---@param bytes integer
local function mebibytes(bytes)
  return ('%.1f MiB'):format(bytes / 1024 / 1024)
end

--- Why a buffer is not for Redraft, and whether the user should hear of it.
---@param buffer integer
---@return string? why
---@return boolean? aloud
function M.refusal(buffer)
  local limit, bytes = options.get().max_file_size, size(buffer)
  local filetypes = options.get().filetypes
  if vim.bo[buffer].buftype ~= '' then
    return 'this is no file'
  elseif filetypes and not vim.tbl_contains(filetypes, vim.bo[buffer].filetype) then
    return ('the option filetypes leaves %s out'):format(vim.bo[buffer].filetype)
  elseif bytes > limit then
    local name = vim.fs.basename(vim.api.nvim_buf_get_name(buffer))
    return ('%s is left alone: %s is more than max_file_size (%s). setup{ max_file_size = … } raises it.'):format(
      name,
      mebibytes(bytes),
      mebibytes(limit)
    ),
      true
  end
end

--- Why the server cannot run at all.
---@return string? why
function M.problem()
  local command = options.get().cmd[1]
  if stopped then
    return stopped
  elseif vim.fn.executable(command) == 0 then
    return ('%s is not on the PATH. `pip install redraft` brings it, or name it with setup{ cmd = … }.'):format(command)
  end
end

--- Decide for one buffer; the server starts where `on_dir` is called.
---@param buffer integer
---@param on_dir fun(root: string?)
local function gate(buffer, on_dir)
  local why, aloud = M.refusal(buffer)
  if why then
    if aloud then
      say.once(why)
    end
    return
  end
  local problem = M.problem()
  if problem then
    say.once(problem)
    return
  end
  on_dir(vim.fs.root(buffer, options.get().root_markers))
end

---@param code integer
---@param signal integer
local function ended(code, signal)
  require('redraft.status').note('error', 'the server ended')
  stopped = ('the server ended by itself (exit code %d, signal %d). :Redraft restart starts it again; its log: %s'):format(
    code,
    signal,
    vim.lsp.get_log_path()
  )
  say.once(stopped)
end

--- Start the process. When it ends unasked, that is told here, and Neovim hears of an ordinary end.
---@param dispatchers vim.lsp.rpc.Dispatchers
---@return vim.lsp.rpc.PublicClient
local function start(dispatchers)
  local asked = false
  local on_exit = dispatchers.on_exit
  local ours = vim.tbl_extend('force', dispatchers, {
    on_exit = function(code, signal)
      on_exit(0, 0)
      vim.schedule(function()
        if not asked then
          ended(code, signal)
        elseif restarting then
          restarting = false
          vim.lsp.enable('redraft')
        end
      end)
    end,
  })
  local client = vim.lsp.rpc.start(options.get().cmd, ours)
  local request, terminate = client.request, client.terminate
  client.request = function(method, ...)
    asked = asked or method == 'shutdown'
    return request(method, ...)
  end
  client.terminate = function()
    asked = true
    return terminate()
  end
  return client
end

--- The configuration for |vim.lsp.enable()|.
---@return vim.lsp.Config
function M.config()
  return {
    name = 'redraft',
    cmd = start,
    root_dir = gate,
    capabilities = {
      textDocument = { inlineCompletion = { dynamicRegistration = false } },
      experimental = { redraftStatus = true },
    },
    before_init = function(params)
      params.initializationOptions = options.initialization()
    end,
    handlers = {
      ['redraft/status'] = function(_, told)
        require('redraft.status').note(told.state, told.text)
      end,
      ['window/showMessage'] = function(_, told)
        say.now(told.message, told.type <= MESSAGE_WARNING and LEVEL.WARN or LEVEL.INFO)
        return told
      end,
    },
  }
end

--- Whether a server of this version speaks what the plugin speaks.
---@param version string?
function M.fits(version)
  return vim.startswith((version or '') .. '.', require('redraft').version .. '.')
end

--- A buffer is attached: ghost text begins, and consent is asked where it never was.
---@param client vim.lsp.Client
---@param buffer integer
function M.attached(client, buffer)
  local version = (client.server_info or {}).version
  if not M.fits(version) then
    stopped = ('the server is version %s and the plugin %s. Install matching ones, then :Redraft restart.'):format(
      version or 'unknown',
      require('redraft').version
    )
    say.once(stopped)
    client:stop()
    return
  end
  require('redraft.status').note('ready')
  if vim.lsp.inline_completion then
    vim.lsp.inline_completion.enable(true, { bufnr = buffer })
  else
    require('redraft.ghost').attach(client, buffer)
  end
  require('redraft.consent').look(client)
end

--- The client of a buffer.
---@param buffer? integer the current one by default
---@return vim.lsp.Client?
function M.client(buffer)
  return vim.lsp.get_clients({ name = 'redraft', bufnr = buffer or vim.api.nvim_get_current_buf() })[1]
end

--- The client of the current buffer, or any other: for what concerns no buffer. Says so where there is none.
---@param here? boolean only the current buffer's
---@return vim.lsp.Client?
function M.need(here)
  local found = M.client() or (not here and vim.lsp.get_clients({ name = 'redraft' })[1] or nil)
  if found and found.initialized then
    return found
  end
  local buffer = vim.api.nvim_get_current_buf()
  local why = found and 'the server is still starting' or M.refusal(buffer) or M.problem()
  say.now((why or 'it does not run in this buffer') .. (why and '' or '. :checkhealth redraft says more.'), LEVEL.WARN)
end

--- The URI of a client's workspace folder, "" where files belong to none.
---@param client vim.lsp.Client
---@return string
function M.workspace(client)
  local folder = (client.workspace_folders or {})[1]
  return folder and folder.uri or ''
end

---@class redraft.Request
---@field client vim.lsp.Client
---@field id integer

--- Run a command of the server. What goes wrong is said in one message, unless `on_error` takes it.
---@param client vim.lsp.Client
---@param name string without `redraft.`
---@param argument? table
---@param on_result? fun(result: table)
---@param on_error? fun(message: string)
---@return redraft.Request?
function M.run(client, name, argument, on_result, on_error)
  local params = { command = 'redraft.' .. name, arguments = argument and { argument } or nil }
  local sent, id = client:request('workspace/executeCommand', params, function(problem, result)
    if problem then
      local tell = on_error or function(message)
        say.now(message, LEVEL.WARN)
      end
      tell(problem.message)
    elseif on_result then
      on_result(result or {})
    end
  end)
  return sent and id and { client = client, id = id } or nil
end

--- Run a command and say what it answers.
---@param name string
---@param argument? table
---@param on_result? fun(result: table)
function M.tell(name, argument, on_result)
  local client = M.need()
  if client then
    M.run(client, name, argument, function(result)
      if result.text then
        say.now(result.text)
      end
      if on_result then
        on_result(result)
      end
    end)
  end
end

--- Stop the server, and start it again for the buffers that are open.
function M.restart()
  stopped = nil
  say.reset()
  local clients = vim.lsp.get_clients({ name = 'redraft' })
  vim.lsp.enable('redraft', false)
  restarting = #clients > 0
  if not restarting then
    vim.lsp.enable('redraft')
  end
  vim.defer_fn(function()
    for _, client in ipairs(clients) do
      client:stop(true) -- one that does not end by itself
    end
  end, PATIENCE_MS)
end

return M
