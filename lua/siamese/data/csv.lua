--- Data sets from tables in text: a path and its label a line, or two paths and whether they are of one
-- class.
--
-- Files are read as RFC 4180 has it: fields may be in double quotes, and then hold separators, line ends
-- and doubled quotes. Paths are taken from the table's own folder unless they are absolute.
-- @module siamese.data.csv
local core = require "siamese.core"
local folder = require "siamese.data.folder"
local labels = require "siamese.data.labels"
local options = require "siamese.options"
local pair_list = require "siamese.data.pair_list"
local trees = require "siamese.data.tree"

local M = {}

-- Tables

--- A field from `at` on: its text, and where the separator or the line's end behind it stands.
local function read_field(text, at, stop)
   if text:sub(at, at) ~= '"' then
      local last = (text:find(stop, at) or #text + 1) - 1
      return text:sub(at, last), last + 1
   end
   local parts, from = {}, at + 1
   while true do
      local quote = text:find('"', from, true)
      if not quote then
         return nil
      end
      parts[#parts + 1] = text:sub(from, quote - 1)
      if text:sub(quote + 1, quote + 1) ~= '"' then
         return table.concat(parts), quote + 1
      end
      parts[#parts + 1] = '"'
      from = quote + 2
   end
end

--- The rows of a table, each a list of fields with `line`, its number in the file.
local function parse(text, separator)
   local rows, row, at, line = {}, {}, 1, 1
   local stop = "[\n" .. (separator:match("%w") and separator or "%" .. separator) .. "]"
   text = text:gsub("^\239\187\191", ""):gsub("\r\n?", "\n")
   while at <= #text do
      local began = at
      local field, last = read_field(text, at, stop)
      if not field then
         return nil, ("line %d: a quoted field has no end"):format(line)
      end
      row.line = row.line or line
      row[#row + 1] = field
      local mark = text:sub(last, last)
      if mark ~= separator and mark ~= "\n" and mark ~= "" then
         return nil, ("line %d: something follows a quoted field"):format(line)
      end
      line = line + select(2, text:sub(began, last):gsub("\n", ""))
      if mark ~= separator then
         if #row > 1 or row[1]:match("%S") then
            rows[#rows + 1] = row
         end
         row = {}
      end
      at = last + 1
   end
   return rows
end

local function read_table(path, o)
   local tree, message = trees.open(path:match("^(.*/)[^/]*$") or ".")
   if not tree then
      return nil, message
   end
   local text
   text, message = tree:read(path)
   if not text then
      return nil, message
   end
   local rows, why = parse(text, o.separator)
   if not rows then
      return nil, path .. ": " .. why
   elseif #rows == 0 then
      return nil, path .. ": the table is empty"
   end
   return rows
end

--- Which columns the wanted ones are: by the names in the first line when it has them, else by place.
-- Takes that line away when it has names.
local function find_columns(path, rows, wanted, named)
   local first, at = rows[1], {}
   for i, field in ipairs(first) do
      at[field:match("^%s*(.-)%s*$"):lower()] = i
   end
   local columns, missing = {}, nil
   for k, name in ipairs(wanted) do
      columns[k] = type(name) == "number" and name or at[name:lower()]
      missing = missing or not columns[k] and name
   end
   if not missing then
      local by_name = false
      for _, name in ipairs(wanted) do
         by_name = by_name or type(name) == "string"
      end
      if by_name then
         table.remove(rows, 1)
      end
      return columns
   elseif named then
      return nil, ("%s: there is no column '%s' (columns: %s)"):format(path, missing,
         table.concat(first, ", "):sub(1, 200))
   end
   for k = 1, #wanted do
      columns[k] = k
   end
   return columns
end

--- A path of the table as it can be opened.
local function place(root, path)
   if path:sub(1, 1) == "/" or root == "" then
      return path
   end
   return root .. "/" .. path
end

--- The fields of the wanted columns, row by row; nil and a message where a row has too few.
local function pick(path, rows, columns)
   local out = {}
   for i, row in ipairs(rows) do
      local fields = { line = row.line }
      for k, column in ipairs(columns) do
         fields[k] = row[column] and row[column]:match("^%s*(.-)%s*$")
         if not fields[k] or fields[k] == "" then
            return nil, ("%s: line %d has no column %d"):format(path, row.line, column)
         elseif fields[k]:find("\0", 1, true) then
            return nil, ("%s: line %d has a zero byte"):format(path, row.line)
         end
      end
      out[i] = fields
   end
   return out
end

--- Reads the wanted columns. `o` has the option `header` (nil: found out).
-- @treturn {table,...} rows, each a list of the wanted fields
-- @treturn boolean whether a line of names has been taken away
local function read_columns(path, o, wanted, named)
   local rows, message = read_table(path, o)
   if not rows then
      return nil, message
   end
   local columns, count = {}, #rows
   for k, name in ipairs(wanted) do
      columns[k] = type(name) == "number" and name or k
   end
   if o.header ~= false then
      columns, message = find_columns(path, rows, wanted, named)
      if not columns then
         return nil, message
      elseif o.header and #rows == count then
         table.remove(rows, 1)
      end
   end
   local picked
   picked, message = pick(path, rows, columns)
   return picked, message or #rows < count
end

--- Where the table's paths start, and the tree there; or that, nil and a message.
local function open_root(name, path, o)
   local root = o.root or path:match("^(/)[^/]*$") or path:match("^(.*)/[^/]*$") or ""
   local tree, message = trees.open(root == "" and "." or root, name)
   return root, tree, message
end

--- Raises unless a column is told by its name or its number.
local function check_column(name, key, column)
   if type(column) ~= "string" and (math.type(column) ~= "integer" or column < 1) then
      core.raise(("%s: %s must be a column's name, or its number from 1, got %s"):format(name, key,
         options.text(column)))
   end
end

local COMMON = options.extend(folder.OPTIONS, { root = options.optional, separator = ",",
   header = options.optional })

local function check(name, path, opts, more)
   options.check_path(name, path)
   local o = folder.check(name, opts, options.extend(COMMON, more))
   if o.header ~= nil and type(o.header) ~= "boolean" then
      core.raise(("%s: header must be true or false, or nil to find it out, got %s"):format(name,
         options.text(o.header)))
   elseif o.root ~= nil and (type(o.root) ~= "string" or o.root == "") then
      core.raise(("%s: root must be the path of a folder or a zip archive, got %s"):format(name,
         options.text(o.root)))
   elseif type(o.separator) ~= "string" or #o.separator ~= 1 or o.separator:match('["\n\r]') then
      core.raise(("%s: separator must be one character, got %s"):format(name, options.text(o.separator)))
   end
   return o
end

-- Labels

--- A table with the path of a picture and its label on each line.
--
-- The first line may name the columns ("path" and "label", or what the options say); without names the
-- first column is the path and the second the label. Labels are names: classes are all that there are,
-- sorted, as numbers when all are whole numbers.
-- @tparam string path of the table
-- @tparam[opt] table opts those of `data.folder`, and `root` (where paths start, a folder or a zip archive;
--   default: the table's folder); `path_column`, `label_column` (names or numbers); `header` (false: the
--   first line is data; true: it has the names; default: found out); `separator` (default ",");
--   `classes` (their names in order)
-- @treturn[1] Set
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local set = assert(data.csv("train.csv", { size = 64, label_column = "species" }))
function M.csv(path, opts)
   local o = check("data.csv", path, opts, { path_column = options.optional,
      label_column = options.optional, classes = options.optional })
   local wanted = { o.path_column or "path", o.label_column or "label" }
   check_column("data.csv", "path_column", wanted[1])
   check_column("data.csv", "label_column", wanted[2])
   folder.check_classes("data.csv", o.classes)
   local rows, named = read_columns(path, o, wanted, o.path_column or o.label_column)
   if not rows then
      return nil, named
   end
   local root, tree, message = open_root("data.csv", path, o)
   if not tree then
      return nil, message
   end
   if o.header == nil and not named and #rows > 1 and rows[2][1]:match("%.%w+$")
      and not rows[1][1]:match("%.%w+$") and not tree:has_file(place(root, rows[1][1])) then
      table.remove(rows, 1) -- names that nobody asked for
   end
   local paths, names = {}, {}
   for i, row in ipairs(rows) do
      paths[i], names[i] = place(root, row[1]), row[2]
   end
   if #rows == 0 then
      return nil, path .. ": the table names no pictures"
   end
   local numbers, classes = labels.number(names, o.classes)
   if not numbers then
      return nil, path .. ": " .. classes
   end
   local set, why = folder.load({ paths = paths, labels = numbers, classes = classes }, tree, o)
   return set, not set and why or nil
end

-- Pairs

local FLAGS = { ["1"] = 1, ["0"] = 0, ["true"] = 1, ["false"] = 0, yes = 1, no = 0, same = 1,
   different = 0, y = 1, n = 0, t = 1, f = 0, ["1.0"] = 1, ["0.0"] = 0, ["-1"] = 0 }
--- Flags that may be a column's name, and what stands below that name where it is one.
local NAMES = { same = "different", y = "n", t = "f" }

--- Whether the first row is names that nobody asked for: neither of its paths is a picture's, by its ending
-- or for there is such a file, and its flag is none, or is a word that names a column, too, while the next
-- row has pictures or flags of another kind.
local function is_header(rows, root, tree)
   local function has_picture(row)
      for k = 1, 2 do
         if trees.names_picture(row[k]) or tree:has_file(place(root, row[k])) then
            return true
         end
      end
      return false
   end
   local first, second = rows[1], rows[2]
   local word = first[3]:lower()
   if has_picture(first) then
      return false
   elseif not FLAGS[word] or not second then
      return not FLAGS[word] or NAMES[word] ~= nil
   end
   local below = second[3]:lower()
   return NAMES[word] ~= nil and (below ~= word and below ~= NAMES[word] or has_picture(second))
end

--- What the rows say, 1 or 0 each, and their folds; or nil and a message.
local function flags_of(path, rows, with_folds)
   local same, fold = {}, with_folds and {} or nil
   for i, row in ipairs(rows) do
      same[i] = FLAGS[row[3]:lower()]
      if not same[i] then
         return nil, ("%s: line %d: '%s' says neither same nor different"):format(path, row.line,
            row[3]:sub(1, 40))
      end
      if fold then
         fold[i] = math.tointeger(tonumber(row[4]))
         if not fold[i] then
            return nil, ("%s: line %d: the fold '%s' is no integer"):format(path, row.line, row[4]:sub(1, 40))
         end
      end
   end
   return same, fold
end

--- The pictures that rows name, each once, and where each row's two are among them.
local function collect(rows, root)
   local paths, at, a, b = {}, {}, {}, {}
   local function index(path)
      path = place(root, path)
      if not at[path] then
         paths[#paths + 1] = path
         at[path] = #paths
      end
      return at[path]
   end
   for i, row in ipairs(rows) do
      a[i], b[i] = index(row[1]), index(row[2])
   end
   return paths, a, b
end

--- A set of pictures each of which is a class of its own, named by its path.
local function own_classes(paths, tree, o)
   local numbers = {}
   for i = 1, #paths do
      numbers[i] = i
   end
   return folder.load({ paths = paths, labels = numbers, classes = table.move(paths, 1, #paths, 1, {}) },
      tree, o)
end

--- The pairs both of whose pictures are in the set; `keep` is what `folder.load` gives.
local function pairs_that_stay(paths, a, b, same, fold, set, keep)
   local now, out = {}, { set = set, a = {}, b = {}, same = {}, fold = fold and {}, skipped = {} }
   for new, old in ipairs(keep or {}) do
      now[old] = new
   end
   for i = 1, #a do
      local x, y = keep and now[a[i]] or not keep and a[i], keep and now[b[i]] or not keep and b[i]
      if x and y then
         local n = #out.a + 1
         out.a[n], out.b[n], out.same[n] = x, y, same[i]
         if fold then
            out.fold[n] = fold[i]
         end
      else
         table.insert(out.skipped, { a = paths[a[i]], b = paths[b[i]] })
      end
   end
   return out
end

--- The columns of a, b, same and the fold, as the options say.
local function pair_columns(name, o)
   local columns = o.columns
   if columns ~= nil and (type(columns) ~= "table" or #columns ~= 3) then
      core.raise(("%s: columns must be a list of three names or numbers, got %s"):format(name,
         options.text(columns)))
   end
   local wanted = table.move(columns or { "a", "b", "same" }, 1, 3, 1, {})
   wanted[4] = o.fold_column
   for k, column in ipairs(wanted) do
      check_column(name, k == 4 and "fold_column" or ("columns[%d]"):format(k), column)
   end
   return wanted
end

--- A table with two paths and whether they show the same on each line.
--
-- The first line may name the columns ("a", "b", "same", or what the options say). Without these names they
-- are the first three, and the first line is left out as other names where neither of its paths ends as
-- pictures do or is there, and its third field is no flag; or is "same", "y" or "t", which may be names,
-- above a line with pictures or with flags of another kind. `header` says for sure what the first line is.
--
-- Same is 1, true, yes or same; not the same is 0, -1, false, no or different. In the set each picture is a
-- class of its own: what is the same is the pairs' knowledge.
-- @tparam string path of the table
-- @tparam[opt] table opts those of `data.folder`, and `root`, `header`, `separator` as for `csv`; `columns`
--   (a list of three names or numbers); `fold_column` (name or number of a column of integers)
-- @treturn[1] PairList with the field `set`; pairs of pictures that cannot be read are listed in `skipped`
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage
-- local pairs = assert(data.pairs_csv("pairs.csv", { size = 64 }))
-- for a, b, same in data.loader(pairs.set, { sampler = pairs:batches() }) do ... end
function M.pairs_csv(path, opts)
   local o = check("data.pairs_csv", path, opts, { columns = options.optional,
      fold_column = options.optional })
   local wanted = pair_columns("data.pairs_csv", o)
   local rows, named = read_columns(path, o, wanted, o.columns or type(o.fold_column) == "string")
   if not rows then
      return nil, named
   end
   local root, tree, message = open_root("data.pairs_csv", path, o)
   if not tree then
      return nil, message
   end
   if o.header == nil and not named and is_header(rows, root, tree) then
      table.remove(rows, 1)
   end
   local same, fold = flags_of(path, rows, o.fold_column)
   if not same then
      return nil, fold
   elseif #rows == 0 then
      return nil, path .. ": the table names no pairs"
   end
   local paths, a, b = collect(rows, root)
   local set, keep = own_classes(paths, tree, o)
   if not set then
      return nil, keep
   end
   local fields = pairs_that_stay(paths, a, b, same, fold, set, keep)
   fields.name = path:match("[^/]+$")
   return pair_list.new(fields)
end

return M
