--- What specs of examples share: little made-up pictures, and running a script.
local files = require "spec.support_files"

local M = {}

--- Person k has a pattern of their own; their pictures differ by a little light.
function M.picture(k, number)
   return files.pgm(23, 28, function(x, y)
      return 20 + 10 * (number % 5) + math.floor(80 + 80 * math.sin(x * (1 + k % 7) / 4 + k)
         * math.cos(y * (1 + k % 5) / 4))
   end)
end

--- So many people to train on, 12 for the test, in LFW's layout; 12 pairs are of the same, 12 of others.
function M.make_lfw(root, people)
   local lists = { Train = { tostring(people) }, Test = { "12" } }
   local pairs = { "12" }
   for k = 1, people + 12 do
      local name, part = ("Person_%02d"):format(k), k <= people and "Train" or "Test"
      files.make_folder(root .. "/" .. name)
      for number = 1, 4 do
         local path = ("%s/%s/%s_%04d"):format(root, name, name, number)
         files.write(path .. ".pgm", M.picture(k, number))
      end
      table.insert(lists[part], name .. "\t4")
      if part == "Test" then
         table.insert(pairs, k - people + 1, name .. "\t1\t2")
         pairs[#pairs + 1] = ("%s\t1\tPerson_%02d\t3"):format(name, people + 1 + (k - people) % 12)
      end
   end
   files.write(root .. "/peopleDevTrain.txt", table.concat(lists.Train, "\n") .. "\n")
   files.write(root .. "/peopleDevTest.txt", table.concat(lists.Test, "\n") .. "\n")
   files.write(root .. "/pairsDevTest.txt", table.concat(pairs, "\n") .. "\n")
end

--- Alphabets of characters of 20 drawings each, in Omniglot's layout.
function M.make_omniglot(root, alphabets, characters)
   for a = 1, alphabets do
      for c = 1, characters do
         local folder = ("%s/Alphabet_%02d/character%02d"):format(root, a, c)
         files.make_folder(folder)
         for drawer = 1, 20 do
            files.write(("%s/%04d_%02d.pgm"):format(folder, 100 * a + c, drawer),
               M.picture(7 * a + c, drawer))
         end
      end
   end
end

--- What an example prints on both streams, and its exit status.
function M.run(name, arguments)
   local pipe = assert(io.popen(("'%s' examples/%s.lua %s 2>&1"):format(arg[-1] or "lua5.4", name,
      arguments)))
   local text = pipe:read("a")
   local _, _, status = pipe:close()
   return text, status
end

return M
