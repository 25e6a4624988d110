--- examples/finetune_faces.lua on little made-up pictures and weights: what it prints, draws and keeps.
local siamese = require "siamese"
local examples = require "spec.support_examples"
local files = require "spec.support_files"

local folder

local function make_orl(root)
   for k = 1, 40 do
      files.make_folder(("%s/s%d"):format(root, k))
      for number = 1, 10 do
         files.write(("%s/s%d/%d.pgm"):format(root, k, number), examples.picture(k, number))
      end
   end
end

local function run(arguments)
   return examples.run("finetune_faces", arguments)
end

--- The numbers of the table's line that begins with a data set and a name.
local function line(text, set, name)
   local rest = text:match("\n" .. set .. " +" .. name:gsub("%-", "%%-") .. " +([%d+-][^\n]*)")
   local list = {}
   for number in assert(rest, "no line of " .. name):gmatch("[+-]?[%d.]+") do
      list[#list + 1] = tonumber(number)
   end
   return list
end

-- Where tags leave the tests out, nothing is made.
local function prepare()
   if not folder then
      folder = files.temp_folder()
      make_orl(folder)
      examples.make_lfw(folder .. "/lfw", 16)
      siamese.manual_seed(1)
      assert(siamese.models.resnet20{ num_classes = 10 }:save(folder .. "/weights.safetensors"))
   end
end

teardown(function()
   if folder then
      files.remove(folder)
   end
end)

describe("examples/finetune_faces.lua", function()
   it("measures three ways on both data sets, draws the curves, and keeps a twin", function()
      prepare()
      local text, status = run(("--root %s --weights %s/weights.safetensors --lfw %s/lfw --seeds 2 --steps 2"
         .. " --out %s/curves.png --save %s/twin.safetensors"):format(folder, folder, folder, folder, folder))
      assert.equal(0, status, text)
      assert.truthy(text:find("114 tensors loaded; left out: linear.weight [10,64], linear.bias [10]; new: "
         .. "embedding, a linear layer [64,1280]", 1, true), text)
      for _, set in ipairs{ "ORL", "LFW" } do
         local rows = {}
         for _, name in ipairs{ "pixels", "frozen", "fine-tuned", "scratch" } do
            rows[name] = line(text, set, name)
            assert.equal(6, #rows[name])
            for k, most in ipairs{ 1, 1, 100, 100, 100, 100 } do
               assert.is_true(rows[name][k] >= 0 and rows[name][k] <= most, text)
            end
         end
         local difference = line(text, set, "fine-tuned - scratch")
         for k = 1, 5, 2 do
            assert.near(rows["fine-tuned"][k] - rows.scratch[k], difference[k], 0.011)
         end
      end
      local image = assert(siamese.image.load(folder .. "/curves.png"))
      assert.is_true(image:size(2) > 600 and image:size(3) > 400)
      assert.truthy(text:find("twin.safetensors, which knows Preprocess(rgb, 40 x 32, mean=", 1, true), text)
      for _, other in ipairs{ "s1/2.pgm", "s2/1.pgm" } do
         local distance = tonumber(text:match("distance of s1/1.pgm and " .. other .. ": ([%d.]+)"))
         assert.is_true(distance >= 0 and distance <= 2, text)
      end
   end)

   it("says what is missing", function()
      prepare()
      local text, status = run("--root /nowhere")
      assert.equal(2, status)
      assert.truthy(text:find("finetune_faces: --weights is missing", 1, true))
      text, status = run("--root /nowhere --weights w")
      assert.equal(1, status)
      assert.truthy(text:find("finetune_faces: /nowhere", 1, true), text)
      text, status = run("--root /nowhere --weights w --steps few")
      assert.equal(2, status)
      assert.truthy(text:find("--steps: 'few' is no whole number", 1, true))
      text, status = run(("--root %s --weights /nowhere.pt --out %s/x.png"):format(folder, folder))
      assert.equal(1, status)
      assert.truthy(text:find("/nowhere.pt", 1, true), text)
   end)
end)
