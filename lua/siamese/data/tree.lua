--- Folders and zip archives, seen alike: a path may go through an archive, as in
-- "faces.zip/anna/1.jpg".
-- @module siamese.data.tree
local core = require "siamese.core"

local M = {}

local EXTENSIONS = { png = true, jpg = true, jpeg = true, pgm = true, ppm = true, pnm = true,
   bmp = true, gif = true }

--- @type Tree
local Tree = {}
Tree.__index = Tree

--- Whether a name ends as those of pictures do.
function M.names_picture(name)
   local extension = name:match("[^/]%.(%w+)$")
   return extension ~= nil and EXTENSIONS[extension:lower()] or false
end

-- Archives

--- The path up to the archive that it goes through.
local function archive_of(path)
   local at = #path
   while at do
      local head = path:sub(1, at)
      local kind = core.path_kind(head)
      if kind == "file" then
         return head
      elseif kind == "folder" then
         return nil
      end
      at = head:match("^.*()/")
      at = at and at > 1 and at - 1
   end
end

local function add(folders, parent, name, kind)
   if not folders[parent] then
      folders[parent] = { names = {}, kinds = {} }
      local above, own = parent:match("^(.*)/([^/]*)$")
      if above then
         add(folders, above, own, "folder")
      end
   end
   local list = folders[parent]
   if not list.kinds[name] then
      list.kinds[name] = kind
      list.names[#list.names + 1] = name
   end
end

--- What is in each folder of an archive, by full path; without what macOS adds, and without names that no
-- file can have.
local function folders_of(archive, path)
   local folders = { [path] = { names = {}, kinds = {} } }
   for _, entry in ipairs(archive:names()) do
      local full = path .. "/" .. entry
      local parent, name = full:match("^(.*)/([^/]+)/?$")
      if parent and not ("/" .. entry):find("/__MACOSX/", 1, true) and not entry:find("\0", 1, true) then
         add(folders, parent, name, entry:sub(-1) == "/" and "folder" or "file")
      end
   end
   for _, list in pairs(folders) do
      table.sort(list.names)
   end
   return folders
end

--- An archive often holds one folder that holds all the rest.
local function only_folder(self)
   local names, kinds = self:list(self.root)
   local inner = #names == 1 and kinds[1] == "folder" and self.root .. "/" .. names[1]
   if inner and #self:pictures(inner) == 0 then
      return inner
   end
end

--- Opens a folder or a zip archive. An archive that holds nothing but one folder without pictures
-- stands for that folder.
-- @tparam string root a folder, an archive, or a folder in an archive
-- @tparam[opt] string name of the function that wants it, for what it raises at its caller
-- @treturn[1] Tree
-- @treturn[2] nil
-- @treturn[2] string message
function M.open(root, name)
   if type(root) ~= "string" or root == "" or root:find("\0", 1, true) then
      core.raise(("%s: expected the path of a folder or a zip archive, got %s"):format(name,
         type(root) == "string" and ("%q"):format(root) or type(root)))
   end
   root = root:match("^(.-)/*$")
   root = root == "" and "/" or root
   local self = setmetatable({ root = root, archives = {} }, Tree)
   local path = archive_of(root)
   if not path then
      return self
   end
   local archive, message = core.loading.archive(path)
   if not archive then
      return nil, message
   end
   self.archives[1], self.archive, self.archive_path = archive, archive, path
   self.entries = folders_of(archive, path)
   if path == root then
      self.root = only_folder(self) or root
   end
   return self
end

--- What is in a folder, sorted by name.
-- @tparam string path
-- @treturn[1] {string,...} names
-- @treturn[1] {string,...} kinds: "file", "folder" or "other"
-- @treturn[2] nil
-- @treturn[2] string message
function Tree:list(path)
   if not self.entries then
      return core.list_folder(path)
   end
   local list = self.entries[path]
   if not list then
      return nil, path .. ": there is no such folder in the archive"
   end
   local kinds = {}
   for i, name in ipairs(list.names) do
      kinds[i] = list.kinds[name]
   end
   return list.names, kinds
end

--- The picture files in a folder, sorted by name; hidden files are left out. What has a picture's name and
-- is no file that can be read (a link to nowhere, a pipe) is among them: whoever reads it says so.
-- @tparam string path
-- @treturn[1] {string,...} full paths
-- @treturn[2] nil
-- @treturn[2] string message
function Tree:pictures(path)
   local names, kinds = self:list(path)
   if not names then
      return nil, kinds
   end
   local paths = {}
   for i, name in ipairs(names) do
      if kinds[i] ~= "folder" and name:sub(1, 1) ~= "." and M.names_picture(name) then
         paths[#paths + 1] = path .. "/" .. name
      end
   end
   return paths
end

--- Whether a file has that path.
-- @tparam string path
-- @treturn boolean
function Tree:has_file(path)
   if not self.entries then
      return core.path_kind(path) == "file"
   end
   local parent, name = path:match("^(.*)/([^/]+)$")
   local list = self.entries[parent]
   return list ~= nil and list.kinds[name] == "file"
end

--- The folders in a folder, sorted by name; hidden ones are left out.
-- @tparam string path
-- @treturn[1] {string,...} names
-- @treturn[2] nil
-- @treturn[2] string message
function Tree:folders(path)
   local names, kinds = self:list(path)
   if not names then
      return nil, kinds
   end
   local out = {}
   for i, name in ipairs(names) do
      if kinds[i] == "folder" and name:sub(1, 1) ~= "." then
         out[#out + 1] = name
      end
   end
   return out
end

--- A file's content.
-- @tparam string path
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string message
function Tree:read(path)
   if self.archive and path:sub(1, #self.archive_path + 1) == self.archive_path .. "/" then
      return self.archive:read(path:sub(#self.archive_path + 2))
   end
   local file, message = io.open(path, "rb")
   if not file then
      return nil, message
   end
   local text, why = file:read("a")
   file:close()
   return text, why and path .. ": " .. why
end

return M
