--- Training parts of a network: `freeze`, `unfreeze`, learning rates for parts, gradual unfreezing.
--
--    net:freeze("conv1", "bn1", "layer[12]")
--    local opt = optim.AdamW(net:parameter_groups{ { "layer[34]", lr = 1e-4 } }, { lr = 1e-3 })
--
-- Parts are named by Lua patterns that names of parameters and modules begin with. A pattern that fits a
-- whole name (`layer1`) means that part and what is in it, and no other that begins alike (`layer10`).
-- @module siamese.nn.freezing
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"

--- Where a pattern ends in a name that begins with it: 2 at the end of one of the name's parts, 1
-- elsewhere, 0 where the name doesn't begin so.
local function fit(pattern, name)
   local _, last = name:find("^" .. pattern)
   if not last or last == 0 then
      return 0
   end
   return (last == #name or name:sub(last, last + 1):find(".", 1, true)) and 2 or 1
end

--- Sets of the parameters and the modules that a pattern means; raises if there is no parameter.
local function find_part(self, method, pattern)
   if type(pattern) ~= "string" then
      core.raise(("%s: a pattern must be a string, got %s"):format(method, type(pattern)))
   end
   local best, found = 1, {}
   local function look(name, thing)
      local well_formed, how = pcall(fit, pattern, name)
      if not well_formed then
         core.raise(("%s: '%s' is no Lua pattern: %s"):format(method, pattern,
            how:match("malformed.*") or how))
      end
      if how > best then
         best, found = how, {}
      end
      if how == best then
         found[thing] = true
      end
   end
   for name, module in self:named_modules() do
      look(name, module)
   end
   local count = 0
   for name, tensor in self:named_parameters() do
      look(name, tensor)
   end
   for _, tensor in self:named_parameters() do
      count = count + (found[tensor] and 1 or 0)
   end
   if count == 0 then
      core.raise(("%s: no parameter's name begins with '%s'"):format(method, pattern))
   end
   return found
end

--- The union of the parts that patterns mean; all without patterns.
local function find_parts(self, method, patterns)
   local all = {}
   for _, pattern in ipairs(patterns) do
      for thing in pairs(find_part(self, method, pattern)) do
         all[thing] = true
      end
   end
   for _, thing in ipairs(#patterns == 0 and self:parameters() or {}) do
      all[thing] = true
   end
   if #patterns == 0 then
      self:apply(function(module)
         all[module] = true
      end)
   end
   return all
end

--- Whether a module normalises by running statistics that training moves.
local function has_statistics(module)
   return module.running_mean ~= nil
end

--- Holds a batch norm that has nothing left to train in evaluation mode, or lets it go again; one without
-- parameters goes with the part that it lies in.
local function hold(module, parts, on, training)
   local own, touched, frozen = module:own_parameters(), parts[module], true
   for _, tensor in ipairs(own) do
      touched = touched or parts[tensor]
      frozen = frozen and not tensor.requires_grad
   end
   frozen = frozen and not (#own == 0 and on)
   if touched and frozen ~= (module.held or false) then
      module.held = frozen or nil
      module.training = training and not frozen
   end
end

local function set_trainable(self, method, on, patterns)
   local parts = find_parts(self, method, patterns)
   for _, tensor in self:named_parameters() do
      if parts[tensor] then
         tensor.requires_grad = on
         tensor.grad = nil
      end
   end
   return self:apply(function(module)
      if has_statistics(module) then
         hold(module, parts, on, self.training)
      end
   end)
end

--- Stops training parts of the network, or all of it; returns the module. Batch norms in it are held in
-- evaluation mode, `net:train()` or not: they go on with the statistics they have, which would otherwise
-- drift away from weights that no longer follow.
-- @function Module:freeze
-- @tparam string ... patterns; see above
-- @treturn Module
-- @usage net:freeze("conv1", "bn1", "layer%d")
function Module:freeze(...)
   return set_trainable(self, "freeze", false, { ... })
end

--- The opposite of `freeze`.
-- @function Module:unfreeze
-- @tparam string ...
-- @treturn Module
function Module:unfreeze(...)
   return set_trainable(self, "unfreeze", true, { ... })
end

--- The parameters of an entry { pattern, ..., option = value } that no earlier one took, as a group.
local function take_group(self, number, entry, taken)
   if type(entry) ~= "table" or entry[1] == nil or entry.params ~= nil then
      core.raise(("parameter_groups: entry %d must be a table of patterns and options, such as "
         .. "{ \"layer4\", lr = 1e-4 }"):format(number))
   end
   local group, patterns = { params = {} }, {}
   for key, value in pairs(entry) do
      if math.type(key) == "integer" then
         patterns[#patterns + 1] = value
      else
         group[key] = value
      end
   end
   local parts = find_parts(self, "parameter_groups", patterns)
   for _, tensor in self:named_parameters() do
      if parts[tensor] and not taken[tensor] then
         taken[tensor] = true
         table.insert(group.params, tensor)
      end
   end
   if #group.params == 0 then
      core.raise(("parameter_groups: entry %d ('%s') has nothing that the ones before it left"):format(number,
         table.concat(patterns, "', '")))
   end
   return group
end

--- Groups for an optimiser: each entry names parts by patterns and has options of its own. A parameter
-- belongs to the first entry that fits; those that no entry fits come last, in a group with the
-- optimiser's own options. Frozen parameters are in their groups too, and steps pass over them, so that
-- they may be unfrozen later.
-- @function Module:parameter_groups
-- @tparam {table,...} entries { pattern, ..., lr = , weight_decay = , ... }
-- @treturn {table,...} list of { params = {tensor,...}, lr = , ... }
-- @usage optim.SGD(net:parameter_groups{ { "layer4", lr = 1e-3 }, { "fc", lr = 1e-2 } }, { lr = 1e-4 })
function Module:parameter_groups(entries)
   if type(entries) ~= "table" or Module.is_module(entries) then
      core.raise("parameter_groups: expected a list of entries, got "
         .. (Module.is_module(entries) and "a module" or type(entries)))
   end
   local groups, taken, rest = {}, {}, {}
   for i, entry in ipairs(entries) do
      groups[i] = take_group(self, i, entry, taken)
   end
   for _, tensor in self:named_parameters() do
      if not taken[tensor] then
         rest[#rest + 1] = tensor
      end
   end
   if #rest > 0 then
      groups[#groups + 1] = { params = rest }
   end
   return groups
end

--- Gradual unfreezing (Howard and Ruder 2018, section 3.3): freezes the network but for the first stage,
-- and returns what unfreezes one more stage every `every` epochs.
-- @function Module:gradual_unfreezing
-- @tparam table opts `stages`: list of patterns, or of lists of patterns, from the layers nearest to the
--   output to the first; `every` (1): epochs from one stage to the next
-- @treturn function to be called at the beginning of an epoch with its number, from 1; returns the number
--   of stages that train now
-- @usage local thaw = net:gradual_unfreezing{ stages = { "fc", "layer4", { "layer[123]", "conv1", "bn1" } } }
--for epoch = 1, 10 do
--   thaw(epoch)
--   ...
--end
function Module:gradual_unfreezing(opts)
   local o = options.check("gradual_unfreezing", opts, { stages = options.required, every = 1 })
   options.check_count("gradual_unfreezing", o, "every", 1)
   if type(o.stages) ~= "table" or #o.stages == 0 then
      core.raise("gradual_unfreezing: stages must be a list of patterns, got " .. options.text(o.stages))
   end
   local stages, unfrozen = {}, 0
   for i, stage in ipairs(o.stages) do
      stages[i] = type(stage) == "table" and { table.unpack(stage) } or { stage }
      for _, pattern in ipairs(stages[i]) do
         find_part(self, "gradual_unfreezing", pattern, 3)
      end
   end
   self:freeze()
   local function thaw(epoch)
      if math.type(epoch) ~= "integer" or epoch < 1 then
         core.raise("gradual_unfreezing: expected the number of an epoch, from 1, got " .. tostring(epoch))
      end
      while unfrozen < math.min(#stages, 1 + (epoch - 1) // o.every) do
         unfrozen = unfrozen + 1
         self:unfreeze(table.unpack(stages[unfrozen]))
      end
      return unfrozen
   end
   thaw(1)
   return thaw
end

return Module.freeze
