--- core.trace, which exports stand on; core.write_file, which writes them.
local siamese = require "siamese"
local files = require "spec.support_files"
local support = require "spec.support"

local core = siamese.core

describe("core.trace", function()
   it("tells of each op: its name, its parameters, and its tensors by numbers", function()
      local events, x, w = {}, siamese.randn(1, 2, 5, 5), siamese.randn(3, 2, 3, 3)
      local first
      local y = core.trace(function(event)
         events[#events + 1] = event
      end, function()
         first = core.trace_number(x)
         return core.F.conv2d(x, w, nil, { stride = { 2, 1 }, padding = 1 }):detach():gelu{
            approximate = "tanh" }:mean({ 3, 4 }, true)
      end)
      assert.same({ 1, 3, 1, 1 }, y.shape)
      assert.same({ "conv2d", "gelu_tanh", "mean" }, { events[1].op, events[2].op, events[3].op })
      assert.same({ stride = { 2, 1 }, padding = { 1, 1 }, dilation = { 1, 1 }, groups = 1, low = -math.huge,
         high = math.huge }, events[1].params)
      assert.same({ dims = 12, keepdim = true, a = 0.0 }, events[3].params)
      assert.equal(first, events[1].inputs[1])
      assert.is_false(events[1].inputs[3])
      assert.is_false(events[1].operands[3])
      assert.is_true(events[1].operands[2] == w)
      assert.same(events[1].outputs, events[2].inputs) -- a detached alias is the same value
      assert.is_true(events[3].results[1] == y)
   end)

   it("tells of reads and changes of what it has seen, and of nothing else", function()
      local told, free = {}, siamese.zeros(2)
      core.trace(function(event)
         told[#told + 1] = event.op or event.read or event.changed
      end, function()
         free:add_(1)
         local y = siamese.ones(2) * 2
         y:mul_(3)
         y:totable()
         free:sum():item()
      end)
      assert.same({ "add", "mul", "mul_", "mul", "totable", "sum", "item" }, told)
      assert.same({ 1, 1 }, free:totable())
   end)

   it("leaves out what the callback does, and ends with its errors", function()
      local count = 0
      core.trace(function()
         count = count + 1
         return siamese.ones(2) + 1
      end, function() return siamese.ones(2) + 1 end)
      assert.equal(1, count)
      support.fails("enough", core.trace, function() error("enough") end,
         function() return siamese.ones(2) + 1 end)
      support.fails("within", core.trace, function() end, function() error("within") end)
      support.fails("a trace is running", core.trace, function() end, core.trace, function() end, print)
      core.trace(function() count = count + 1 end, function() return siamese.ones(2) + 1 end)
      assert.equal(2, count)
      local _ = siamese.ones(2) + 1
      assert.equal(2, count)
   end)

   it("holds the tensors that it tells of, even where they are freed", function()
      local held
      core.trace(function(event) held = event.operands[1] end, function()
         local x = siamese.full({ 3 }, 2)
         local y = x:neg()
         x:free()
         return y
      end)
      assert.same({ 2, 2, 2 }, held:totable())
   end)
end)

describe("core.write_file", function()
   it("writes strings and the bytes of tensors one behind another", function()
      local folder = files.temp_folder()
      local path = folder .. "/bytes"
      assert.is_true(core.write_file(path, { "a\0b", siamese.tensor{ 1, -2 }, "", siamese.zeros(0),
         siamese.tensor({ 7 }, { dtype = "uint8" }), siamese.tensor({ 258 }, { dtype = "int64" }) }))
      local file <close> = assert(io.open(path, "rb"))
      assert.equal("a\0b" .. ("<ffBi8"):pack(1, -2, 7, 258), file:read("a"))
      files.remove(folder)
   end)

   it("refuses anything else, and says which piece it is", function()
      support.fails("write_file: piece 2 is neither a string nor a contiguous tensor", core.write_file,
         "/tmp/none", { "a", 1 })
      support.fails("write_file: piece 1 is neither", core.write_file, "/tmp/none",
         { siamese.ones(2, 3):t() })
   end)
end)
