--- What must be the same for training to go on as it began: the settings of `siamese.fit` in a checkpoint.
-- @module siamese.fit.settings
local options = require "siamese.options"

local M = {}

-- What may differ from one run to the next: how long, how often it is saved and told about, patience.
local COMPARED = { "accumulate", "clip_norm", "clip_value", "steps_per_epoch", "schedule_every", "warmup",
   "validate_every", "monitor", "mode", "min_delta", "keep_best", "average_every", "average_from" }

local function data(value)
   if type(value) ~= "table" then
      return value
   end
   local out = {}
   for key, item in pairs(value) do
      out[key] = data(item)
   end
   return out
end

--- Names of the kind of things, where their own states don't tell.
local function schedule_name(schedule)
   if type(schedule) == "table" then
      return schedule.kind and schedule.kind.name or "schedule"
   end
   return type(schedule) == "function" and "function" or schedule
end

--- The settings of a run, before anything of it was changed.
-- @tparam table o options of fit, checked
-- @treturn table data
function M.of(o)
   local settings = { schedule = schedule_name(o.schedule), optimizer = o.optimizer.name, groups = {} }
   for _, key in ipairs(COMPARED) do
      settings[key] = data(o[key])
   end
   for i, group in ipairs(o.optimizer.param_groups) do
      settings.groups[i] = { count = #group.params }
      for key, value in pairs(group) do
         if key ~= "params" then
            settings.groups[i][key] = data(value)
         end
      end
   end
   return settings
end

local function same(a, b)
   if type(a) ~= "table" or type(b) ~= "table" then
      return a == b
   end
   for _, pair in ipairs{ { a, b }, { b, a } } do
      for key, value in pairs(pair[1]) do
         if not same(value, pair[2][key]) then
            return false
         end
      end
   end
   return true
end

local function keys_of(...)
   local seen, list = {}, {}
   for _, t in ipairs{ ... } do
      for key in pairs(t) do
         if not seen[key] then
            seen[key] = true
            list[#list + 1] = key
         end
      end
   end
   table.sort(list)
   return list
end

local function compare(was, now, where)
   for _, key in ipairs(keys_of(was, now)) do
      if key ~= "groups" and not same(was[key], now[key]) then
         return ("%s = %s%s, this run has %s"):format(key, options.text(was[key]), where,
            options.text(now[key]))
      end
   end
end

--- What differs between the settings of a checkpoint and those of now.
-- @treturn ?string "lr = 0.1 in group 2 of the optimiser, this run has 0.01"
function M.difference(was, now)
   local text = compare(was, now, "")
   if text then
      return text
   elseif #was.groups ~= #now.groups then
      return ("%d group(s) of parameters, this run has %d"):format(#was.groups, #now.groups)
   end
   for i, group in ipairs(now.groups) do
      text = compare(was.groups[i], group, (" in group %d of the optimiser"):format(i))
      if text then
         return text
      end
   end
end

return M
