--- Data sets out of text: tables of labels and of pairs, lists of pairs, LFW's protocols.
local siamese = require "siamese"
local data = require "siamese.data"
local files = require "spec.support_files"
local support = require "spec.support"

local fails = support.fails
local root

before_each(function() root = files.temp_folder() end)
after_each(function()
   files.remove(root)
   collectgarbage()
end)

local function write(name, width, height, grey)
   files.write(root .. "/" .. name, files.flat_pgm(width, height, grey))
end

--- The upper left pixels.
local function greys(set)
   return set.images:select(4, 1):select(3, 1):select(2, 1):flatten():totable()
end

describe("a table of paths and labels", function()
   local function csv(text, opts)
      files.write(root .. "/t.csv", text)
      return data.csv(root .. "/t.csv", opts)
   end

   before_each(function()
      files.make_folder(root .. "/sub")
      for i, name in ipairs{ "a.pgm", "sub/b.pgm", "c, d.pgm", 'e"f.pgm' } do
         write(name, 2, 2, i)
      end
   end)

   it("is a set; labels are names or numbers", function()
      for _, text in ipairs{ "path,label\na.pgm,cat\nsub/b.pgm,dog\n",
         "label,x,path\ncat,1,a.pgm\ndog,2,sub/b.pgm",
         "a.pgm,cat\nsub/b.pgm,dog", "file,kind\na.pgm,cat\r\nsub/b.pgm,dog\r\n", "\239\187\191path,label\n"
         .. "a.pgm, cat \n\n\"sub/b.pgm\",\"dog\"\n" } do
         local set = assert(csv(text))
         assert.same({ 1, 2 }, greys(set))
         assert.same({ "cat", "dog" }, set.classes)
         assert.same({ 1, 2 }, set.labels:totable())
         assert.equal(root .. "/sub/b.pgm", set.paths[2])
      end
      local set = assert(csv("a.pgm;10\nsub/b.pgm;9", { separator = ";", stream = true }))
      assert.same({ "9", "10" }, set.classes)
      assert.same({ 2, 1 }, set.labels:totable())
   end)

   it("has quotes where they are needed", function()
      local set = assert(csv('path,label\n"c, d.pgm","a\nb"\n"e""f.pgm","say ""x"""\n'))
      assert.same({ 3, 4 }, greys(set))
      assert.same({ "a\nb", 'say "x"' }, set.classes)
   end)

   it("takes columns by name or number, another root, given classes", function()
      local set = assert(csv("id,species,file\n7,owl,b.pgm\n", { path_column = "file",
         label_column = "species",
         root = root .. "/sub" }))
      assert.same({ { 2 }, { "owl" } }, { greys(set), set.classes })
      set = assert(csv("owl,a.pgm\n", { path_column = 2, label_column = 1, classes = { "cat", "owl" } }))
      assert.same({ 2 }, set.labels:totable())
      assert.same({ 1 }, greys(assert(csv("path,label\na.pgm,x", { header = true }))))
      local none, message = csv("path,label\na.pgm,x", { header = false, on_error = "raise" })
      assert.is_nil(none)
      assert.matches("/path: No such file", message, 1, true)
   end)

   it("that is wrong gives nil and a message with its line", function()
      local cases = { { "", "the table is empty" }, { "path,label\n", "the table names no pictures" },
         { "path,label\na.pgm\n", "line 2 has no column 2" }, { 'path,label\n"a.pgm,x\n',
            "line 2: a quoted field" },
         { 'path,label\n"a.pgm"x,y\n', "line 2: something follows a quoted field" },
         { "file,kind\na.pgm,x", "there is no column 'path' (columns: file, kind)",
            { path_column = "path" } },
         { "a.pgm,x", "label 1 is 'x', which is not among the 1 classes", { classes = { "y" } } } }
      for _, case in ipairs(cases) do
         local none, message = csv(case[1], case[3])
         assert.is_nil(none)
         assert.matches(case[2], message, 1, true)
         assert.matches("t.csv", message, 1, true)
      end
      local none, message = data.csv(root .. "/nowhere.csv")
      assert.is_nil(none)
      assert.matches("nowhere.csv", message, 1, true)
      local set = assert(csv("a.pgm,x\nmissing.pgm,y"))
      assert.equal(1, #set)
      assert.matches("missing.pgm: No such file", set.skipped[1].message, 1, true)
      fails("separator must be one character", csv, "a", { separator = "::" })
   end)
end)

describe("a table of pairs", function()
   local function csv(text, opts)
      files.write(root .. "/p.csv", text)
      return data.pairs_csv(root .. "/p.csv", opts)
   end

   before_each(function()
      for i = 1, 4 do
         write(i .. ".pgm", 2, 2, i)
      end
   end)

   it("is a list of pairs of a set in which each picture is there once", function()
      for _, text in ipairs{ "a,b,same\n1.pgm,2.pgm,1\n3.pgm,1.pgm,0\n",
         "1.pgm,2.pgm,true\n3.pgm,1.pgm,False\n",
         "left,right,equal\n1.pgm,2.pgm,yes\n3.pgm,1.pgm,no", "same,b,a\n1,2.pgm,1.pgm\n0,1.pgm,3.pgm\n" } do
         local pairs = assert(csv(text))
         assert.equal(2, #pairs)
         assert.same({ 1, 2, 3 }, greys(pairs.set))
         assert.same({ { 1, 3 }, { 2, 1 }, { 1, 0 } },
            { pairs.a:totable(), pairs.b:totable(), pairs.same:totable() })
         assert.equal("p.csv: 2 pairs, 1 same, of 3 images", tostring(pairs))
      end
      local pairs = assert(csv("x,y,s\n1.pgm,4.pgm,same\n", { columns = { "x", "y", "s" }, stream = true }))
      for a, b, same in data.loader(pairs.set, { sampler = pairs:batches() }) do
         assert.near(1 / 255, a:max():item(), 1e-6)
         assert.near(4 / 255, b:max():item(), 1e-6)
         assert.same({ 1 }, same:totable())
      end
   end)

   it("has folds where a column says so", function()
      local pairs = assert(csv("a,b,same,fold\n1.pgm,2.pgm,1,2\n3.pgm,4.pgm,0,1\n1.pgm,4.pgm,0,2\n",
         { fold_column = "fold" }))
      local folds = pairs:folds()
      assert.same({ 1, 2 }, { #folds[1], #folds[2] })
      assert.same({ 1, 1 }, folds[2].a:totable())
      assert.equal("p.csv, fold 2: 2 pairs, 1 same, of 4 images", tostring(folds[2]))
   end)

   it("loses the pairs of pictures that cannot be read, and says which", function()
      files.write(root .. "/2.pgm", "")
      local pairs = assert(csv("1.pgm,2.pgm,1\n3.pgm,4.pgm,0\n1.pgm,4.pgm,1"))
      assert.same({ { 2, 1 }, { 3, 3 } }, { pairs.a:totable(), pairs.b:totable() })
      assert.same({ { a = root .. "/1.pgm", b = root .. "/2.pgm" } }, pairs.skipped)
      assert.same({ 1, 3, 4 }, greys(pairs.set))
      assert.is_nil(csv("1.pgm,2.pgm,1", { on_error = "raise" }))
   end)

   it("that is wrong gives nil and a message with its line", function()
      local cases = {
         { "1.pgm,2.pgm,1\n1.pgm,2.pgm,maybe", "line 2: 'maybe' says neither same nor different" },
         { "1.pgm,2.pgm", "line 1 has no column 3" }, { "a,b,same\n", "the table names no pairs" },
         { "a,b,same,fold\n1.pgm,2.pgm,1,x", "line 2: the fold 'x' is no integer",
            { fold_column = "fold" } } }
      for _, case in ipairs(cases) do
         local none, message = csv(case[1], case[3])
         assert.is_nil(none)
         assert.matches(case[2], message, 1, true)
      end
      fails("columns must be a list of three", csv, "", { columns = { "a" } })
   end)
end)

describe("the first line of a table", function()
   local function csv(read, text, opts)
      files.write(root .. "/t.csv", text)
      return data[read](root .. "/t.csv", opts)
   end

   before_each(function()
      for _, name in ipairs{ "1.pgm", "2.pgm", "3.pgm", "one", "two" } do
         write(name, 2, 2, 7)
      end
   end)

   it("of pairs is names where its last word could be a flag, too", function()
      for _, line in ipairs{ "path1,path2,same", "path,path,same", "\239\187\191left,right,Same\r",
         "x1,x2,y", "img1,img2,t" } do
         for _, below in ipairs{ "1.pgm,2.pgm,1\n2.pgm,3.pgm,0\n",
            "1.pgm,2.pgm,same\n2.pgm,3.pgm,different\n",
            "one,two,y\r\ntwo,1.pgm,n\r\n" } do
            local pairs = assert(csv("pairs_csv", line .. "\n" .. below))
            assert.same({ 2, {}, { 1, 0 } }, { #pairs, pairs.skipped, pairs.same:totable() })
         end
      end
      local _, message = csv("pairs_csv", "path1,path2,same\n")
      assert.matches("the table names no pairs", message, 1, true)
      local pairs = assert(csv("pairs_csv", "path1,path2,same\n1.pgm,2.pgm,0\n", { columns = { 2, 1, 3 } }))
      assert.same({ 0 }, pairs.same:totable())
   end)

   it("of pairs is a pair where a path is a picture's or the flag no name", function()
      for _, line in ipairs{ "1.pgm,2.pgm,same", "gone/1.PNG,x,same", "one,gone,y", "gone,x,1",
         "gone,x,true" } do
         local pairs = assert(csv("pairs_csv", line .. "\n2.pgm,3.pgm,0\n"))
         assert.equal(2, #pairs + #pairs.skipped)
      end
      local wrong = { ["gone/1.png,gone/2.png,maybe\n1.pgm,2.pgm,1"] = "line 1: 'maybe' says neither",
         ["one,two,maybe\n1.pgm,2.pgm,1"] = "line 1: 'maybe' says neither",
         ["a,b,same\n1.pgm,2.pgm,maybe"] = "line 2: 'maybe' says neither",
         ["a,b,same\ngone,gone,maybe\n1.pgm,2.pgm,1"] = "line 2: 'maybe' says neither" }
      for text, want in pairs(wrong) do
         local none, message = csv("pairs_csv", text)
         assert.is_nil(none)
         assert.matches(want, message, 1, true)
      end
   end)

   it("of labels is taken away once, and not where it is a file", function()
      local set = assert(csv("csv", "path,label\none,cat\n1.pgm,dog\n"))
      assert.same({ 2, { "cat", "dog" } }, { #set, set.classes })
      set = assert(csv("csv", "one,cat\n1.pgm,dog\n"))
      assert.same({ 2, { "cat", "dog" } }, { #set, set.classes })
   end)

   it("is what the options say, and these are checked", function()
      local columns = "columns[3] must be a column's name, or its number from 1, got {}"
      for _, read in ipairs{ "csv", "pairs_csv" } do
         fails(read .. ": header must be true or false, or nil to find it out, got 'x'", csv, read, "",
            { header = "x" })
         fails(read .. ": root must be the path of a folder or a zip archive, got {}", csv, read, "",
            { root = {} })
      end
      fails("data.csv: label_column must be a column's name, or its number from 1, got {}", csv, "csv", "",
         { label_column = {} })
      fails("data.csv: label_column must be a column's name, or its number from 1, got 1.5", csv, "csv", "",
         { path_column = 1, label_column = 1.5 })
      fails("data.csv: path_column must be a column's name, or its number from 1, got 0", csv, "csv", "",
         { path_column = 0 })
      fails("data.csv: classes must be a list of names, got 3", csv, "csv", "", { classes = 3 })
      fails("data.pairs_csv: " .. columns, csv, "pairs_csv", "", { columns = { 1, 2, {} } })
      fails("data.pairs_csv: fold_column must be a column's name", csv, "pairs_csv", "",
         { fold_column = true })
   end)
end)

describe("a list of pairs", function()
   local set = data.set{ images = siamese.arange(1, 6):reshape(5, 1, 1, 1), labels = { 1, 1, 2, 2, 3 } }

   it("comes in batches, in order or shuffled, and can be resumed", function()
      local pairs = data.pair_list{ set = set, a = { 1, 2, 3, 4, 5 }, b = { 5, 4, 3, 2, 1 },
         same = { true, false, 1, 0, 0.0 } }
      local got = {}
      for a, b, same in pairs:batches{ batch_size = 2 } do
         got[#got + 1] = { a:totable(), b:totable(), same:totable() }
      end
      assert.same({ { { 1, 2 }, { 5, 4 }, { 1, 0 } }, { { 3, 4 }, { 3, 2 }, { 1, 0 } }, { { 5 }, { 1 },
         { 0 } } },
         got)
      local sampler = pairs:batches{ batch_size = 2, shuffle = true, seed = 1 }
      sampler()
      local state = sampler:state()
      local want = sampler():totable()
      assert.same(want, pairs:batches{ batch_size = 2, shuffle = true, seed = 9 }:restore(state)():totable())
      assert.same({ pairs }, pairs:folds())
   end)

   it("is checked", function()
      local function make(a, b, same, fold)
         return data.pair_list{ set = set, a = a, b = b, same = same, fold = fold }
      end
      fails("a has an index that is not from 1 to 5", make, { 6 }, { 1 }, { 1 })
      fails("b must be a list of 1 values, as many as a", make, { 1 }, { 1, 2 }, { 1 })
      fails("same must have as many values as a", make, { 1 }, { 1 }, { 1, 1 })
      fails("fold must have as many values as a", make, { 1 }, { 1 }, { 1 }, {})
      fails("option 'same' is required", make, { 1 }, { 1 })
      fails("same[2] must be true, false, 1 or 0, got 'same'", make, { 1, 2 }, { 2, 1 }, { 1, "same" })
      fails("same has a value that is neither 1 nor 0", make, { 1 }, { 2 }, siamese.tensor{ 0.5 })
      fails("data.pair_list: a: expected a list of indices or an int64 tensor, got string", make, "x", { 1 },
         { 1 })
      fails("data.pair_list: expected a data set (of data.set or a loader), got number", data.pair_list,
         { set = 3, a = {}, b = {}, same = {} })
   end)
end)

describe("LFW's layout", function()
   local function write_lfw()
      for _, person in ipairs{ "Ann_Lee", "Bo", "Cy" } do
         files.make_folder(root .. "/" .. person)
         for n = 1, 3 do
            write(("%s/%s_%04d.jpg"):format(person, person, n), 2, 2, #person * 10 + n)
         end
      end
      files.write(root .. "/pairsDevTest.txt",
         "2\nAnn_Lee\t1\t3\nBo\t1\t2\nAnn_Lee\t2\tBo\t3\nBo\t1\tCy\t1\n")
      files.write(root .. "/peopleDevTrain.txt", "2\nCy\t3\nAnn_Lee\t3\n")
      files.write(root .. "/pairs.txt", "2\t1\nBo\t1\t2\nBo\t1\tCy\t1\nCy\t1\t2\nBo\t3\tCy\t3\n")
      return assert(data.lfw(root, { channels = 1 }))
   end

   it("has View 1: people and pairs", function()
      local lfw = write_lfw()
      assert.same({ "Ann_Lee", "Bo", "Cy" }, lfw.set.classes)
      local test = assert(lfw:pairs("pairsDevTest"))
      assert.same({ { 1, 4, 2, 4 }, { 3, 5, 6, 7 }, { 1, 1, 0, 0 } },
         { test.a:totable(), test.b:totable(), test.same:totable() })
      assert.equal("pairsDevTest: 4 pairs, 2 same, of 9 images", tostring(test))
      local train = assert(lfw:people("peopleDevTrain"))
      assert.same({ "Cy", "Ann_Lee" }, train.classes)
      assert.same({ 21, 22, 23, 71, 72, 73 }, greys(train))
      assert.matches("^LFW: Data set: 9 images", tostring(lfw))
   end)

   it("has View 2: folds", function()
      local folds = assert(write_lfw():folds())
      assert.equal(2, #folds)
      assert.same({ { 7, 6 }, { 8, 9 } }, { folds[2].a:totable(), folds[2].b:totable() })
      assert.equal("pairs, fold 1: 2 pairs, 1 same, of 9 images", tostring(folds[1]))
   end)

   it("says which pictures are missing", function()
      write_lfw()
      os.remove(root .. "/Bo/Bo_0002.jpg")
      local lfw = assert(data.lfw(root, { channels = 1 }))
      local test = assert(lfw:pairs("pairsDevTest.txt"))
      assert.equal(3, #test)
      assert.same({ { a = "Bo_0001", b = "Bo_0002" } }, test.skipped)
      assert.matches("; 1 pairs left out$", tostring(test))
      local none, message = assert(data.lfw(root, { channels = 1, on_error = "raise" })):pairs("pairsDevTest")
      assert.is_nil(none)
      assert.matches("pairsDevTest.txt: line 3: there is no picture Bo_0002", message, 1, true)
   end)

   it("explains protocols that it cannot read", function()
      local lfw = write_lfw()
      for text, want in pairs{ ["2\nBo 1 2\n"] = "the first line must say how many pairs follow",
         [""] = "the first line must say how many pairs follow; the file is empty",
         ["hello\n"] = "the first line must say",
         ["1\nBo 1 2\nBo x Cy 1\n"] = "line 3: cannot understand 'Bo x Cy 1'" } do
         files.write(root .. "/pairsDevTest.txt", text)
         local none, message = lfw:pairs("pairsDevTest")
         assert.is_nil(none)
         assert.matches(want, message, 1, true)
      end
      local none, message = lfw:pairs("nothing")
      assert.is_nil(none)
      assert.matches("nothing.txt: No such file", message, 1, true)
      files.write(root .. "/peopleDevTrain.txt", "1\nNobody 3\n")
      none, message = lfw:people("peopleDevTrain")
      assert.is_nil(none)
      assert.matches("there are no pictures of these people", message, 1, true)
   end)
end)

describe("tables with random damage", function()
   it("are tables or messages", function()
      local generator = siamese.Generator(12)
      write("a.pgm", 2, 2, 1)
      local pieces = { "a.pgm", ",", "\n", '"', '""', "path", "label", "\r", "1", "same", " ", "\0", "\255",
         "fold" }
      for _ = 1, 400 do
         local text = {}
         for i = 1, generator:random(25) do
            text[i] = pieces[generator:random(#pieces)]
         end
         files.write(root .. "/t.csv", table.concat(text))
         for _, read in ipairs{ data.csv, data.pairs_csv } do
            local set, message = read(root .. "/t.csv")
            assert.is_true(set ~= nil or type(message) == "string" and message:find("t.csv", 1, true) ~= nil
               or message:find(root, 1, true) ~= nil)
         end
      end
   end)
end)
