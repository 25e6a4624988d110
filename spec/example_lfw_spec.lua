--- examples/lfw.lua on little made-up pictures: what it prints, draws and keeps.
local siamese = require "siamese"
local examples = require "spec.support_examples"
local files = require "spec.support_files"

describe("examples/lfw.lua", function()
   local folder

   -- Where tags leave the tests out, nothing is made.
   local function prepare()
      if not folder then
         folder = files.temp_folder()
         examples.make_lfw(folder .. "/lfw", 20)
      end
   end

   teardown(function()
      if folder then
         files.remove(folder)
      end
   end)

   it("tests on the pairs of people never seen, draws the curve and keeps the twin", function()
      prepare()
      local text, status = examples.run("lfw",
         ("--root %s/lfw --steps 3 --roc %s/roc.png --save %s/t.safetensors"):format(folder, folder, folder))
      assert.equal(0, status, text)
      assert.truthy(text:find("80 pictures of 20 people to train on; pairsDevTest: 24 pairs, 12 same", 1,
         true), text)
      for _, name in ipairs{ "twin", "pixels" } do
         local accuracy, auc = text:match("\n" .. name .. " +accuracy ([%d.]+) %% .-AUC ([%d.]+)")
         assert.is_true(tonumber(accuracy) >= 0 and tonumber(auc) <= 1, text)
      end
      assert.is_true(assert(siamese.image.load(folder .. "/roc.png")):size(3) > 400)
      local twin = assert(siamese.load_model(folder .. "/t.safetensors"))
      local x = siamese.rand(2, 3, 48, 48)
      assert.same({ 0, 0 }, siamese.no_grad(twin.distance, twin, x, x):round():totable())
   end)

   it("tests on people held out when told to", function()
      prepare()
      local text, status = examples.run("lfw", ("--root %s/lfw --steps 1 --holdout 0.4"):format(folder))
      assert.equal(0, status, text)
      assert.truthy(text:find("48 pictures of 12 people to train on; people held out: 2000 pairs, 1000 same",
         1, true), text)
   end)

   it("says what is missing", function()
      for arguments, wanted in pairs{ [""] = "--root is missing", ["--steps x"] = "--steps wants a number",
         ["--stpes 1"] = "unknown or incomplete option --stpes", ["--root /nowhere"] = "/nowhere" } do
         local text, status = examples.run("lfw", arguments)
         assert.equal(wanted == "/nowhere" and 1 or 2, status)
         assert.truthy(text:find(wanted, 1, true), text)
      end
   end)
end)
