--- Questions wait until nobody is typing: a prompt must never take keys that were meant for the text.
local M = {}

local QUIET_MS, LOOK_MS = 700, 100

local namespace = vim.api.nvim_create_namespace('redraft.idle')
local waiting = {} ---@type fun()[]
local timer ---@type uv.uv_timer_t?
local last = 0

local function now()
  return vim.uv.hrtime() / 1e6
end

local function look()
  local mode = vim.api.nvim_get_mode()
  if now() - last < QUIET_MS or mode.mode ~= 'n' or mode.blocking or vim.fn.getcmdwintype() ~= '' then
    return
  end
  local ask = table.remove(waiting, 1)
  if #waiting == 0 and timer then
    timer:close()
    timer = nil
    vim.on_key(nil, namespace)
  end
  last = now() -- the next question waits again
  ask()
end

--- Call `ask` in normal mode, once no key was pressed for a while.
---@param ask fun()
function M.when(ask)
  waiting[#waiting + 1] = ask
  if timer then
    return
  end
  last = now()
  vim.on_key(function()
    last = now()
  end, namespace)
  timer = assert(vim.uv.new_timer())
  timer:start(LOOK_MS, LOOK_MS, vim.schedule_wrap(function()
    if timer then
      look()
    end
  end))
end

return M
