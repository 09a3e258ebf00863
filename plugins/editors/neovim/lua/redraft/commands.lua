--- `:Redraft`, its subcommands and their completion.
local say = require('redraft.say')
local server = require('redraft.server')

local M = {}

---@class redraft.Subcommand
---@field run fun(rest: string, call: table)
---@field words? fun(): string[] what may follow
---@field range? boolean whether it works on a range

---@param name string
---@return fun(rest: string)
local function plain(name)
  return function()
    server.tell(name)
  end
end

--- The current document, for commands that concern it.
local function here()
  return { uri = vim.uri_from_bufnr(0) }
end

--- Why the last request in this buffer was answered with nothing.
function M.why()
  server.tell('why', here())
end

---@param rest string
local function pause(rest)
  local minutes = tonumber(rest)
  if rest ~= '' and not (minutes and minutes > 0) then
    say.now('pause takes a number of minutes, or nothing.', vim.log.levels.WARN)
    return
  end
  require('redraft.ghost').hide()
  server.tell('pause', { minutes = minutes })
end

--- Ghost text off or on for a language.
---@param on boolean
---@return fun(rest: string)
local function language(on)
  return function(rest)
    local filetype = rest ~= '' and rest or vim.bo.filetype
    if filetype == '' then
      say.now('this buffer has no filetype; name one: :Redraft off markdown.', vim.log.levels.WARN)
      return
    end
    local ghost_text = require('redraft.options').get().ghost_text
    local disabled = vim.tbl_filter(function(name)
      return name ~= filetype
    end, ghost_text.disabled_languages)
    if not on then
      disabled[#disabled + 1] = filetype
      require('redraft.ghost').hide()
    end
    ghost_text.disabled_languages = disabled
    local inline = require('redraft.options').inline_completion()
    local client = server.need()
    if client then
      server.run(client, 'configure', { inlineCompletion = inline }, function()
        say.now(('ghost text is %s for %s.'):format(on and 'on' or 'off', filetype))
      end)
    end
  end
end

local forgettable = {
  file = { 'what was recorded of this file', here },
  hour = { 'what was recorded in the last hour', function()
    return { hours = 1 }
  end },
  everything = { 'everything that was ever recorded', function()
    return { everything = true }
  end },
}

---@param rest string
local function forget(rest)
  local found = forgettable[rest]
  if not found then
    say.now('forget file, forget hour or forget everything.', vim.log.levels.WARN)
    return
  end
  local argument = found[2]()
  local choices = { 'Keep it', 'Delete it for good' }
  vim.ui.select(choices, { prompt = ('Redraft, delete %s?'):format(found[1]), kind = 'redraft' }, function(_, index)
    if index == 2 then
      server.tell('forget', argument)
    end
  end)
end

local function train()
  local client = server.need()
  if client then
    require('redraft.work').start(client, 'train', nil, function(result)
      say.now(result.text)
    end)
  end
end

local function stop()
  say.now(require('redraft.work').stop() > 0 and 'stopped.' or 'nothing is under way.')
end

---@return string[]
local function filetypes()
  return vim.fn.getcompletion('', 'filetype')
end

---@param words string[]
---@return fun(): string[]
local function of(words)
  return function()
    return words
  end
end

---@type table<string, redraft.Subcommand>
M.subcommands = {
  accept = {
    run = function(rest)
      if not require('redraft.keys').accept(rest == '' and 'all' or rest --[[@as 'word'|'line']]) then
        say.now('there is no ghost text to accept.')
      end
    end,
    words = of({ 'all', 'line', 'word' }),
  },
  consent = {
    run = function(rest)
      require('redraft.consent').command(rest)
    end,
    words = of({ 'ask', 'no', 'yes' }),
  },
  draft = {
    run = function(rest, call)
      require('redraft.draft').start(require('redraft.selection').of(call), rest)
    end,
    words = function()
      return require('redraft.draft').kinds
    end,
    range = true,
  },
  forget = { run = forget, words = of({ 'everything', 'file', 'hour' }) },
  learnt = {
    run = function()
      local client = server.need()
      if client then
        server.run(client, 'learnt', nil, require('redraft.learnt').show)
      end
    end,
  },
  off = { run = language(false), words = filetypes },
  on = { run = language(true), words = filetypes },
  pause = { run = pause },
  restart = { run = server.restart },
  resume = { run = plain('resume') },
  rewrite = {
    run = function(rest, call)
      require('redraft.rewrite').start(require('redraft.selection').of(call), rest)
    end,
    range = true,
  },
  snooze = {
    run = function()
      pause(tostring(require('redraft.options').get().snooze_minutes))
    end,
  },
  status = { run = plain('status') },
  stop = { run = stop },
  suggest = {
    run = function()
      require('redraft.ghost').ask()
    end,
  },
  train = { run = train },
  why = { run = M.why },
}

---@return string[]
local function names()
  return vim.fn.sort(vim.tbl_keys(M.subcommands))
end

--- Run `:Redraft …`.
---@param call vim.api.keyset.create_user_command.command_args
function M.run(call)
  local name, rest = call.args:match('^(%S*)%s*(.-)%s*$')
  local subcommand = M.subcommands[name == '' and 'status' or name]
  if not subcommand then
    say.now(('there is no :Redraft %s; there are %s.'):format(name, table.concat(names(), ', ')), vim.log.levels.WARN)
  elseif call.range > 0 and not subcommand.range then
    say.now((':Redraft %s takes no range.'):format(name), vim.log.levels.WARN)
  else
    subcommand.run(rest, call)
  end
end

--- What may follow on the command line.
---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  local name = line:match('Redraft%s+(%S+)%s')
  local found = names()
  if name then
    local subcommand = M.subcommands[name]
    found = subcommand and subcommand.words and subcommand.words() or {}
  end
  return vim.tbl_filter(function(word)
    return vim.startswith(word, lead)
  end, found)
end

return M
