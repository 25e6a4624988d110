local progress = require "siamese.progress"

--- A stream that collects what is written, and a clock that goes on when told.
local function fake()
   local stream = { text = "" }
   function stream:write(...)
      self.text = self.text .. table.concat{ ... }
   end
   function stream.flush() end
   local time = { now = 0 }
   return stream, time, function() return time.now end
end

describe("the progress line", function()
   it("says epoch, batch, images per second, loss and time left", function()
      local stream, time, clock = fake()
      local line = progress.new{ epochs = 2, batches = 10, stream = stream, clock = clock,
         visible = true }
      time.now = 2
      line:update{ images = 64, loss = 0.5 }
      assert.are.equal("epoch 1/2  batch 1/10  32 images/s  loss 0.5000  38 s left", line:text())
      assert.are.equal("\r" .. line:text(), stream.text)
   end)

   it("is quiet when nobody watches", function()
      local stream, _, clock = fake()
      local line = progress.new{ batches = 3, stream = stream, clock = clock, visible = false }
      line:update()
      line:finish()
      assert.are.equal("", stream.text)
      line:finish("done")
      assert.are.equal("done\n", stream.text)
   end)

   it("is redrawn only so often", function()
      local stream, time, clock = fake()
      local line = progress.new{ batches = 100, stream = stream, clock = clock, visible = true,
         every = 1 }
      for _ = 1, 50 do
         time.now = time.now + 0.1
         line:update{}
      end
      local _, draws = stream.text:gsub("\r", "")
      assert.is_true(draws >= 4 and draws <= 6)
   end)

   it("counts epochs on", function()
      local stream, _, clock = fake()
      local line = progress.new{ epochs = 3, batches = 2, stream = stream, clock = clock,
         visible = false }
      for _ = 1, 3 do
         line:update{}
      end
      assert.matches("epoch 2/3  batch 1/2", line:text(), 1, true)
   end)

   it("wipes itself before a message", function()
      local stream, _, clock = fake()
      local line = progress.new{ batches = 2, stream = stream, clock = clock, visible = true }
      line:update{ note = "abc" }
      line:print("accuracy 0.5")
      assert.matches("\r *\raccuracy 0.5\n$", stream.text)
   end)

   it("reckons with a limit in seconds", function()
      local stream, time, clock = fake()
      local line = progress.new{ batches = 1000, seconds = 10, stream = stream, clock = clock,
         visible = false }
      time.now = 4
      line:update{}
      assert.matches("6 s left", line:text(), 1, true)
   end)

   it("rejects unknown options by name", function()
      assert.error_matches(function() progress.new{ batches = 1, epoch = 2 } end, "epoch")
      assert.has_error(function() progress.new{ batches = 0 } end,
         "progress.new: batches must be a positive number, got 0")
   end)

   it("writes durations for people", function()
      assert.are.equal("45 s", progress.duration(44.7))
      assert.are.equal("3 min 20 s", progress.duration(200))
      assert.are.equal("2 h 5 min", progress.duration(7500))
   end)
end)
