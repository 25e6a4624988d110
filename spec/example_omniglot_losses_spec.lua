--- examples/omniglot_losses.lua on little made-up drawings: every loss trains and has its line.
local examples = require "spec.support_examples"
local files = require "spec.support_files"

local NAMES = { "contrastive", "triplet", "lifted-structure", "multi-similarity", "nt-xent", "supcon",
   "circle", "prototypical", "proxy-anchor", "arcface" }

describe("examples/omniglot_losses.lua", function()
   it("prints and writes a line for every loss", function()
      local folder = files.temp_folder()
      examples.make_omniglot(folder .. "/images_background", 5, 6)
      local text, status = examples.run("omniglot_losses",
         ("--root %s --steps 1 --seeds 2 --episodes 4 --out %s/t.md"):format(folder, folder))
      assert.equal(0, status, text)
      assert.truthy(text:find("seed 2: 24 characters to train on, 6 of other alphabets to test", 1, true),
         text)
      local written = assert(io.open(folder .. "/t.md")):read("a")
      for _, name in ipairs(NAMES) do
         local cells = written:match("\n| " .. name:gsub("%-", "%%-") .. " | ([^\n]*)")
         local count = 0
         for mean, half in assert(cells, written):gmatch("([%d.]+) ± ([%d.]+)") do
            count = count + 1
            assert.is_true(tonumber(mean) <= 100 and tonumber(half) >= 0, cells)
         end
         assert.equal(4, count, cells) -- there are no runs of Lake et al. here
      end
      files.remove(folder)
   end)

   it("says what is missing", function()
      for arguments, wanted in pairs{ [""] = "--root is missing", ["--root . --losses arcface,huber"] =
         "there is no loss named huber", ["--root . --deal cards"] = "--deal wants alphabets or characters",
         ["--root /nowhere"] = "/nowhere", ["--root spec"] = "spec: there is no images_background" } do
         local text, status = examples.run("omniglot_losses", arguments)
         assert.is_true(status > 0)
         assert.truthy(text:find(wanted, 1, true), text)
      end
   end)
end)
