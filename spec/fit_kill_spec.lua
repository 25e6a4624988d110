--- A process that trains and saves after every step, killed 50 times: nothing is lost beyond the last
-- checkpoint, and in the end the numbers are those of a process that lived.
local siamese = require "siamese"
local files = require "spec.support_files"

local KILLS, STEPS = 50, 130

local function command(folder, name, steps)
   local lua = arg and arg[-1] or "lua5.4"
   return ("'%s' spec/support_fit.lua '%s/%s.ckpt' '%s/%s.result' %d"):format(lua, folder, name, folder, name,
      steps or STEPS)
end

--- Runs the child and kills it after so many seconds; whether it ended by itself before.
local function kill_after(folder, seconds)
   local ended = os.execute(("%s >'%s/output' 2>&1 & child=$!; sleep %.3f; kill -9 $child 2>/dev/null;"
      .. " wait $child 2>/dev/null"):format(command(folder, "killed"), folder, seconds))
   return ended == true
end

local function parts_of(folder)
   local count = 0
   for _, name in ipairs((siamese.core.list_folder(folder))) do
      count = count + (name:find("^killed%.ckpt%.tmp%d+$") and 1 or 0)
   end
   return count
end

--- The step of the checkpoint, 0 without one; it is never broken.
local function step_of(path)
   if siamese.core.path_kind(path) == "none" then
      return 0
   end
   local card = assert(siamese.checkpoint.read(path))
   return card.extra.run.step
end

describe("a process killed 50 times", function()
   it("trains to the same bits", function()
      local folder = files.temp_folder()
      local path = folder .. "/killed.ckpt"
      local began = siamese.clock()
      assert(os.execute(command(folder, "short", 1)))
      local delay, step, lives, advances, parts = siamese.clock() - began, 0, 0, 0, 0
      assert(os.execute(command(folder, "whole")))
      local chance = siamese.Generator(1)
      -- Fifty lives, and more until some got on and one ended while it saved.
      while lives < KILLS or lives < 10 * KILLS and (advances < 10 or parts == 0) do
         if kill_after(folder, delay * (0.8 + 0.4 * chance:uniform())) then -- it was too fast: once more
            os.execute(("rm -f '%s/killed.'*"):format(folder))
            delay, step = delay * 0.8, 0
         else
            local now = step_of(path)
            assert.is_true(now >= step, "a checkpoint was lost")
            -- The delay settles where a life is long enough for a step or two.
            delay = delay * (now - step > 1 and 0.93 or now > step and 1 or 1.08)
            advances, step, parts = advances + (now > step and 1 or 0), now, math.max(parts, parts_of(folder))
            lives = lives + 1
         end
      end
      assert.is_true(advances >= 10, ("%d lives out of %d got on, to step %d"):format(advances, lives, step))
      assert.is_true(parts >= 1, "no life ended while it saved")
      assert(os.execute(command(folder, "killed")))
      assert.equal(0, parts_of(folder))
      local whole, about = assert(siamese.load(folder .. "/whole.result"))
      local killed, other = assert(siamese.load(folder .. "/killed.result"))
      for name, tensor in pairs(whole) do
         assert.is_true(tensor == killed[name], name)
         killed[name] = nil
      end
      assert.is_nil(next(killed))
      assert.equal(about.records, other.records)
      local _, lines = assert(io.open(path .. ".jsonl")):read("a"):gsub("\n", "")
      assert.equal(select(2, other.records:gsub("\n", "")) + 1, lines)
      files.remove(folder)
   end)
end)
