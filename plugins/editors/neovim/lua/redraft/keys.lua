--- Keys: `<Plug>` mappings that are always there, and the ones that `setup{ keymaps = … }` puts on them.
local M = {}

---@class redraft.Key
---@field plug string
---@field modes string[]
---@field default string?
---@field says string

--- All by their names in `setup{ keymaps = { … } }`.
---@type table<string, redraft.Key>
M.known = {
  accept = { plug = '<Plug>(RedraftAccept)', modes = { 'i' }, default = '<Tab>', says = 'accept ghost text' },
  accept_word = { plug = '<Plug>(RedraftAcceptWord)', modes = { 'i' }, default = '<M-Right>', says = 'accept a word' },
  accept_line = { plug = '<Plug>(RedraftAcceptLine)', modes = { 'i' }, default = '<M-Down>', says = 'accept a line' },
  dismiss = { plug = '<Plug>(RedraftDismiss)', modes = { 'i' }, default = '<C-]>', says = 'hide ghost text' },
  suggest = { plug = '<Plug>(RedraftSuggest)', modes = { 'i' }, says = 'ask for ghost text here' },
  rewrite = { plug = '<Plug>(RedraftRewrite)', modes = { 'n', 'x' }, says = 'rewrite a motion or the selection' },
  draft = { plug = '<Plug>(RedraftDraft)', modes = { 'n', 'x' }, says = 'draft from a motion or the selection' },
}

--- What is mapped by us, and what was left to the user: for :checkhealth.
M.mapped = {} ---@type table<string, string>
M.left = {} ---@type table<string, string>

---@param table_ table what the user gave
---@return string? problem
function M.problem(table_)
  for name, key in pairs(table_) do
    if not M.known[name] or not (key == false or type(key) == 'string') then
      return tostring(name)
    end
  end
end

--- Accept, by whoever shows it.
---@param how 'all'|'word'|'line'
---@return boolean whether there was any
function M.accept(how)
  if vim.lsp.inline_completion then
    return how == 'all' and vim.lsp.inline_completion.get() or false
  end
  return require('redraft.ghost').accept(how)
end

--- An insert mode key that acts where ghost text is, and is what it was before everywhere else.
---@param name string
---@param action string Lua
local function define(name, action)
  local plug = M.known[name].plug
  vim.keymap.set('i', plug, function()
    if vim.lsp.inline_completion then -- Neovim 0.12
      return M.accept(name == 'accept' and 'all' or 'word') and '' or ('<Plug>(RedraftElse-%s)'):format(name)
    elseif require('redraft.ghost').visible() then
      -- <C-g>u: one undo takes out what is put in, and nothing that was typed before
      return '<C-g>u<Cmd>lua ' .. action .. '<CR>'
    end
    return ('<Plug>(RedraftElse-%s)'):format(name)
  end, { expr = true, remap = true, desc = 'Redraft: ' .. M.known[name].says })
  vim.keymap.set('i', ('<Plug>(RedraftElse-%s)'):format(name), '<Nop>')
end

--- Define the <Plug> mappings.
function M.define_plugs()
  define('accept', "require('redraft.keys').accept('all')")
  define('accept_word', "require('redraft.keys').accept('word')")
  define('accept_line', "require('redraft.keys').accept('line')")
  define('dismiss', "require('redraft.ghost').dismiss()")
  vim.keymap.set('i', M.known.suggest.plug, "<Cmd>lua require('redraft.ghost').ask()<CR>")
  for _, name in ipairs({ 'rewrite', 'draft' }) do
    vim.keymap.set('n', M.known[name].plug, function()
      require('redraft.selection').operator = name
      vim.o.operatorfunc = "v:lua.require'redraft.selection'.opfunc"
      return 'g@'
    end, { expr = true, desc = 'Redraft: ' .. M.known[name].says })
    vim.keymap.set('x', M.known[name].plug, (":<C-u>'<,'>Redraft %s<CR>"):format(name), { silent = true })
  end
end

--- Whether a mapping is the user's own: Neovim's defaults are not.
---@param mapping table
local function is_users(mapping)
  local ours = vim.startswith(mapping.desc or '', 'Redraft: ') or vim.startswith(mapping.rhs or '', '<Plug>(Redraft')
  return next(mapping) ~= nil and not vim.startswith(mapping.desc or '', 'vim.snippet.jump') and not ours
end

--- Keep what a key did before as what it does where there is no ghost text.
---@param name string
---@param lhs string
---@param before table
local function keep(name, lhs, before)
  local otherwise = ('<Plug>(RedraftElse-%s)'):format(name)
  if vim.startswith(before.rhs or '', '<Plug>(Redraft') then
    return
  elseif next(before) == nil then
    vim.keymap.set('i', otherwise, lhs)
    return
  end
  local raw = vim.api.nvim_replace_termcodes(otherwise, true, true, true)
  vim.fn.mapset(vim.tbl_extend('force', before, { lhs = otherwise, lhsraw = raw, lhsrawalt = nil, buffer = 0 }))
end

--- Map keys. A key that the user has mapped already is left alone unless the table names it.
---@param keymaps boolean|table<string, string|false>
function M.map(keymaps)
  if keymaps == false then
    return
  end
  local given = type(keymaps) == 'table' and keymaps or {}
  M.mapped, M.left = {}, {}
  for name, key in vim.spairs(M.known) do
    local lhs = given[name]
    if lhs == nil then
      lhs = key.default
    end
    for _, mode in ipairs(lhs and key.modes or {}) do
      local before = vim.fn.maparg(lhs, mode, false, true)
      if is_users(before) and not given[name] then
        M.left[name] = lhs
      else
        if mode == 'i' then
          keep(name, lhs, before)
        end
        vim.keymap.set(mode, lhs, key.plug, { remap = true, desc = 'Redraft: ' .. key.says })
        M.mapped[name] = lhs
      end
    end
  end
end

return M
