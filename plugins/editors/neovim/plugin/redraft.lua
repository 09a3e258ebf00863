if vim.g.loaded_redraft then
  return
end
vim.g.loaded_redraft = true

vim.api.nvim_create_user_command('Redraft', function(call)
  require('redraft.commands').run(call)
end, {
  nargs = '*',
  range = true,
  desc = 'Redraft: ghost text, rewrites, drafts, and what is learnt from them',
  complete = function(lead, line)
    return require('redraft.commands').complete(lead, line)
  end,
})

require('redraft.keys').define_plugs()

local group = vim.api.nvim_create_augroup('redraft', {})
vim.api.nvim_create_autocmd('LspAttach', {
  group = group,
  callback = function(args)
    local client = vim.lsp.get_client_by_id(args.data.client_id)
    if client and client.name == 'redraft' then
      require('redraft.server').attached(client, args.buf)
    end
  end,
})
