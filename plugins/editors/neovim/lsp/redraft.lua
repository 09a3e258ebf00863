--- `vim.lsp.enable('redraft')`: how the server is started. Options come from `require('redraft').setup`.
return require('redraft.server').config()
