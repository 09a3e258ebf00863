--- Consent: asked once in each workspace, calmly; nothing is recorded before it is given.
local say = require('redraft.say')
local server = require('redraft.server')

local M = {}

local asked = {} ---@type table<string, boolean> workspaces

local STATE = {
  granted = 'Now: recorded.',
  refused = 'Now: not recorded.',
  unasked = 'Nothing is recorded before you say yes.',
}

---@param workspace string
---@return string
local function name_of(workspace)
  return workspace == '' and 'files that belong to no project' or vim.fn.fnamemodify(vim.uri_to_fname(workspace), ':~')
end

---@param status table of `redraft.status`
---@return string[]
local function words(status)
  local lines = {
    'May Redraft record, to learn from what you keep?',
    'Here: ' .. name_of(status.workspace),
    '',
    'What: the text around the cursor or the selection that the',
    'model was given, what it offered, what you kept of that or',
    'typed instead, and where (file, line).',
    'Where: on this machine only, in',
    vim.fn.fnamemodify(status.database, ':~'),
    STATE[status.consent] or '',
    '',
    ':Redraft forget deletes it, :Redraft consent no ends it.',
  }
  if type(status.host) == 'string' then
    table.insert(lines, #lines - 1, 'The model is elsewhere; what it is shown goes to ' .. status.host)
  end
  return lines
end

--- Say what the question is about, beside the prompt.
---@param lines string[]
---@return fun() close
local function explain(lines)
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].bufhidden = 'wipe'
  local width = 0
  for _, line in ipairs(lines) do
    width = math.max(width, vim.fn.strdisplaywidth(line))
  end
  width = math.min(width + 1, vim.o.columns - 4)
  local window = vim.api.nvim_open_win(buffer, false, {
    relative = 'editor', row = 0, col = math.max(0, vim.o.columns - width - 3), width = width, height = #lines,
    border = 'rounded', style = 'minimal', title = ' Redraft ', focusable = false, noautocmd = true,
  })
  vim.wo[window].wrap = true
  vim.cmd.redraw()
  return function()
    if vim.api.nvim_win_is_valid(window) then
      vim.api.nvim_win_close(window, true)
    end
  end
end

---@class redraft.Consent
---@field says string
---@field granted boolean
---@field everywhere? boolean

---@type redraft.Consent[]
local choices = {
  { says = 'Yes, record in this workspace', granted = true },
  { says = 'Yes, record in all workspaces', granted = true, everywhere = true },
  { says = 'No, do not record here', granted = false },
}

--- Pass the user's word on.
---@param client vim.lsp.Client
---@param granted boolean
---@param everywhere? boolean
local function give(client, granted, everywhere)
  local workspace = not everywhere and server.workspace(client) or nil
  server.run(client, 'consent', { granted = granted, workspace = workspace }, function(result)
    say.now(result.text)
  end)
end

--- Ask now. Closing the question leaves it open, and nothing recorded.
---@param client vim.lsp.Client
---@param status table of `redraft.status`
local function ask(client, status)
  local close = explain(words(status))
  vim.ui.select(choices, {
    prompt = 'Redraft, record in this workspace?',
    kind = 'redraft',
    format_item = function(choice)
      return choice.says
    end,
  }, function(choice)
    close()
    if choice then
      give(client, choice.granted, choice.everywhere)
    end
  end)
end

--- Ask where nobody has said anything yet, once the user rests.
---@param client vim.lsp.Client
function M.look(client)
  local workspace = server.workspace(client)
  if require('redraft.options').get().consent ~= 'ask' or asked[workspace] then
    return
  end
  asked[workspace] = true
  server.run(client, 'status', { workspace = workspace }, function(status)
    if status.consent == 'unasked' then
      require('redraft.idle').when(function()
        if not client:is_stopped() then
          ask(client, status)
        end
      end)
    end
  end, function() end)
end

--- `:Redraft consent yes|no|ask`.
---@param word string
function M.command(word)
  local client = server.need(true)
  if not client then
    return
  end
  if word == 'yes' or word == 'no' then
    give(client, word == 'yes')
  elseif word == 'ask' or word == '' then
    server.run(client, 'status', { workspace = server.workspace(client) }, function(status)
      ask(client, status)
    end)
  else
    say.now('consent yes, consent no or consent ask.', vim.log.levels.WARN)
  end
end

return M
