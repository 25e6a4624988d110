--- examples/finetune_faces.lua on little made-up pictures and weights: what it prints, draws and keeps.
local siamese = require "siamese"
local files = require "spec.support_files"

local folder

--- Person k has a pattern of their own; their pictures differ by a little light.
local function picture(k, number)
   return files.pgm(23, 28, function(x, y)
      return 20 + 10 * (number % 5) + math.floor(80 + 80 * math.sin(x * (1 + k % 7) / 4 + k)
         * math.cos(y * (1 + k % 5) / 4))
   end)
end

local function make_orl(root)
   for k = 1, 40 do
      files.make_folder(("%s/s%d"):format(root, k))
      for number = 1, 10 do
         files.write(("%s/s%d/%d.pgm"):format(root, k, number), picture(k, number))
      end
   end
end

--- 16 people to train on, 12 for the test, in LFW's layout.
local function make_lfw(root)
   local lists = { Train = { "16" }, Test = { "12" } }
   local pairs = { "12" }
   for k = 1, 28 do
      local name, part = ("Person_%02d"):format(k), k <= 16 and "Train" or "Test"
      files.make_folder(root .. "/" .. name)
      for number = 1, 4 do
         local path = ("%s/%s/%s_%04d"):format(root, name, name, number)
         files.write(path .. ".pgm", picture(k, number))
      end
      table.insert(lists[part], name .. "\t4")
      if part == "Test" then
         table.insert(pairs, k - 15, name .. "\t1\t2")
         pairs[#pairs + 1] = ("%s\t1\tPerson_%02d\t3"):format(name, 17 + (k - 16) % 12)
      end
   end
   files.write(root .. "/peopleDevTrain.txt", table.concat(lists.Train, "\n") .. "\n")
   files.write(root .. "/peopleDevTest.txt", table.concat(lists.Test, "\n") .. "\n")
   files.write(root .. "/pairsDevTest.txt", table.concat(pairs, "\n") .. "\n")
end

--- What the example prints on both streams, and its exit status.
local function run(arguments)
   local pipe = assert(io.popen(("'%s' examples/finetune_faces.lua %s 2>&1"):format(arg[-1] or "lua5.4",
      arguments)))
   local text = pipe:read("a")
   local _, _, status = pipe:close()
   return text, status
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

setup(function()
   folder = files.temp_folder()
   make_orl(folder)
   make_lfw(folder .. "/lfw")
   siamese.manual_seed(1)
   assert(siamese.models.resnet20{ num_classes = 10 }:save(folder .. "/weights.safetensors"))
end)

teardown(function()
   files.remove(folder)
end)

describe("examples/finetune_faces.lua", function()
   it("measures three ways on both data sets, draws the curves, and keeps a twin", function()
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
