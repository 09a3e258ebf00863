--- The options of `require('redraft').setup`: their types, defaults, and the server's part of them.
local M = {}

---@class redraft.Rewrite
---@field title string what the menu says
---@field instruction string what the model is told

---@class redraft.Options
---@field cmd? string[] how to start the server
---@field enable? boolean whether setup calls vim.lsp.enable('redraft')
---@field filetypes? string[] where it starts; by default in every normal buffer
---@field root_markers? (string|string[])[] what a workspace's folder is known by
---@field consent? 'ask'|boolean whether it may record: ask once in each workspace, yes, no
---@field keymaps? boolean|table<string, string|false>
---@field preview? boolean whether a rewrite is shown as a diff before it is put in
---@field ghost_text? {enabled?: boolean, languages?: string[], disabled_languages?: string[], debounce_ms?: integer, prepare?: boolean}
---@field rewrites? redraft.Rewrite[]
---@field settle? {quiet_seconds?: number, limit_seconds?: number}
---@field host? {url?: string, api_key?: string}
---@field bandit? string
---@field max_file_size? integer bytes
---@field snooze_minutes? number

---@type redraft.Options
local defaults = {
  cmd = { 'redraft-lsp', '--stdio' },
  enable = true,
  root_markers = { '.git', '.hg', '.jj', 'pyproject.toml', 'package.json', 'Cargo.toml', 'go.mod' },
  consent = 'ask',
  keymaps = true,
  preview = true,
  ghost_text = { enabled = true, disabled_languages = {}, prepare = true },
  max_file_size = 1024 * 1024,
  snooze_minutes = 5,
}

---@param value any
local function list_of_strings(value)
  if not vim.islist(value) then
    return false
  end
  return vim.iter(value):all(function(entry)
    return type(entry) == 'string'
  end)
end

local function command(value)
  return list_of_strings(value) and #value > 0
end

local function rewrites(value)
  return vim.islist(value)
    and vim.iter(value):all(function(entry)
      return type(entry) == 'table' and type(entry.title) == 'string' and type(entry.instruction) == 'string'
    end)
end

local function positive(value)
  return type(value) == 'number' and value > 0
end

local function whole(value)
  return type(value) == 'number' and value >= 0 and value == math.floor(value)
end

--- What each key takes: a type, a table of keys, or a check with the words for what it expects.
local shape = {
  cmd = { command, 'a list of strings such as { "redraft-lsp", "--stdio" }' },
  enable = 'boolean',
  filetypes = { list_of_strings, 'a list of filetypes' },
  root_markers = { vim.islist, 'a list of file names' },
  consent = {
    function(value)
      return value == 'ask' or type(value) == 'boolean'
    end,
    '"ask", true or false',
  },
  keymaps = {
    function(value)
      return type(value) == 'boolean' or (type(value) == 'table' and require('redraft.keys').problem(value) == nil)
    end,
    'true, false or a table with any of the keys named in :help redraft-keys',
  },
  preview = 'boolean',
  ghost_text = {
    enabled = 'boolean',
    languages = { list_of_strings, 'a list of filetypes' },
    disabled_languages = { list_of_strings, 'a list of filetypes' },
    debounce_ms = { whole, 'a whole number of milliseconds' },
    prepare = 'boolean',
  },
  rewrites = { rewrites, 'a list of { title = "…", instruction = "…" }' },
  settle = {
    quiet_seconds = { positive, 'a number above 0' },
    limit_seconds = { positive, 'a number above 0' },
  },
  host = { url = 'string', api_key = 'string' },
  bandit = 'string',
  max_file_size = { positive, 'a number of bytes above 0' },
  snooze_minutes = { positive, 'a number of minutes above 0' },
}

---@param path string
---@param expected any an entry of `shape`
---@param value any
---@return string? problem
local function check(path, expected, value)
  if type(expected) == 'string' then
    if type(value) ~= expected then
      return ('%s should be a %s, and is %s'):format(path, expected, vim.inspect(value))
    end
  elseif type(expected[1]) == 'function' then
    if not expected[1](value) then
      return ('%s should be %s, and is %s'):format(path, expected[2], vim.inspect(value, { newline = ' ', indent = '' }))
    end
  elseif type(value) ~= 'table' then
    return ('%s should be a table, and is %s'):format(path, vim.inspect(value))
  else
    for key, inner in vim.spairs(value) do
      local name = path == '' and tostring(key) or ('%s.%s'):format(path, key)
      if expected[key] == nil then
        local known = table.concat(vim.fn.sort(vim.tbl_keys(expected)), ', ')
        return ('there is no option %s; there are %s'):format(name, known)
      end
      local problem = check(name, expected[key], inner)
      if problem then
        return problem
      end
    end
  end
end

local current = vim.deepcopy(defaults)

--- Take options, whole or not at all.
---@param given? redraft.Options
---@return string? problem in words, that names the key
function M.set(given)
  local problem = check('', shape, given or {})
  if problem then
    return ('setup: %s. Redraft stays off until that is right (:help redraft-options).'):format(problem)
  end
  current = vim.tbl_deep_extend('force', vim.deepcopy(defaults), given or {})
end

---@return redraft.Options
function M.get()
  return current
end

--- `inlineCompletion` as the server takes it.
function M.inline_completion()
  local ghost = current.ghost_text
  return {
    enabled = ghost.enabled,
    languages = ghost.languages,
    disabledLanguages = ghost.disabled_languages,
    debounceMs = ghost.debounce_ms,
    prepare = ghost.prepare,
  }
end

--- `initializationOptions` as the server takes them. Only a yes or a no of the user's is passed on as `record`.
function M.initialization()
  local made = { inlineCompletion = M.inline_completion(), rewrites = current.rewrites, bandit = current.bandit }
  if type(current.consent) == 'boolean' then
    made.record = current.consent
  end
  if current.settle then
    made.settle = { quietSeconds = current.settle.quiet_seconds, limitSeconds = current.settle.limit_seconds }
  end
  if current.host then
    made.host = { url = current.host.url, apiKey = current.host.api_key }
  end
  return made
end

return M
