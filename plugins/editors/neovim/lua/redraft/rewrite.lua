--- Rewrites: the selected text again, by an instruction, as a diff before it is put in.
local say = require('redraft.say')
local selection = require('redraft.selection')
local server = require('redraft.server')

local M = {}

local OWN = 'In your own words…'

--- The buffer can be changed, or the user hears that it cannot.
---@param buffer integer
---@return boolean
function M.changeable(buffer)
  if vim.bo[buffer].modifiable then
    return true
  end
  say.now('this buffer cannot be changed; :set modifiable first.', vim.log.levels.WARN)
  return false
end

--- Ask for a text, and show or follow what comes of it.
---@param client vim.lsp.Client
---@param command 'rewrite'|'draft'
---@param argument table
---@param preview boolean
function M.request(client, command, argument, preview)
  argument.preview = preview or nil
  require('redraft.work').start(client, command, argument, function(result)
    if preview and result.newText then
      require('redraft.idle').when(function() -- its keys must not be taken from the text
        require('redraft.preview').show(client, result)
      end)
    elseif not result.applied then
      say.now(result.reason or 'nothing was put in.', vim.log.levels.WARN)
    end
  end)
end

---@param client vim.lsp.Client
---@param selected redraft.Selection
---@param instruction string
local function rewrite(client, selected, instruction)
  M.request(client, 'rewrite', {
    uri = vim.uri_from_bufnr(selected.buffer),
    range = selection.range(selected, client.offset_encoding),
    instruction = instruction,
  }, require('redraft.options').get().preview)
end

---@param client vim.lsp.Client
---@param selected redraft.Selection
local function ask_for_words(client, selected)
  vim.ui.input({ prompt = 'Redraft, rewrite how? ' }, function(words)
    if words and vim.trim(words) ~= '' then
      rewrite(client, selected, words)
    end
  end)
end

--- Let the user choose among the rewrites that the server offers.
---@param client vim.lsp.Client
---@param selected redraft.Selection
local function choose(client, selected)
  local params = {
    textDocument = { uri = vim.uri_from_bufnr(selected.buffer) },
    range = selection.range(selected, client.offset_encoding),
    context = { diagnostics = {}, only = { 'refactor.rewrite' } },
  }
  client:request('textDocument/codeAction', params, function(problem, actions)
    if problem then
      say.now(problem.message, vim.log.levels.WARN)
      return
    end
    local choices = vim.tbl_filter(function(action)
      return action.command and action.command.command == 'redraft.rewrite'
    end, actions or {})
    table.insert(choices, { title = OWN })
    vim.ui.select(choices, {
      prompt = 'Rewrite',
      kind = 'redraft',
      format_item = function(action)
        return action.title
      end,
    }, function(action)
      if action and action.command then
        rewrite(client, selected, action.command.arguments[1].instruction)
      elseif action then
        ask_for_words(client, selected)
      end
    end)
  end, selected.buffer)
end

--- Rewrite a selection, by an instruction or by what the user chooses.
---@param selected redraft.Selection
---@param instruction? string
function M.start(selected, instruction)
  local client = M.changeable(selected.buffer) and server.need(true)
  if not client then
    return
  end
  if instruction and instruction ~= '' then
    rewrite(client, selected, instruction)
  else
    choose(client, selected)
  end
end

return M
