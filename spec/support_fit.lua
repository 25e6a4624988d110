--- A training run with everything that has a state in it, for specs; and, run as a script, a process that
-- may be killed:
--
--    lua5.4 spec/support_fit.lua CHECKPOINT RESULT STEPS [ITERATOR [EXIT]]
--
-- It trains up to so many steps, going on from the checkpoint if it is there, and writes what came of it.
-- ITERATOR is one of `M.iterators`; at step EXIT it leaves the process from within on_step.
local siamese = require "siamese"

local data, nn, optim = siamese.data, siamese.nn, siamese.optim
local M = {}

local function network(width)
   return nn.Sequential{ nn.Flatten{}, nn.Linear{ in_features = 144, out_features = width },
      nn.BatchNorm1d{ num_features = width }, nn.ReLU{}, nn.Dropout{ p = 0.2 },
      nn.Linear{ in_features = width, out_features = 8 } }
end

local function class_batches(set, seed)
   return data.class_batches(set, { classes = 4, samples = 2, batches = 7, seed = seed })
end

--- By name: functions of set and augmentation that give a run's `data`, `set` and `augment`.
M.iterators = {
   samplers = function(set, warp)
      return function(epoch) return class_batches(set, 100 + epoch) end, set, warp
   end,
   functions = function(set, warp)
      return function(epoch)
         local sampler = class_batches(set, 100 + epoch)
         return function() return sampler() end
      end, set, warp
   end,
   one_function = function(set, warp)
      local sampler = class_batches(set, 100)
      local function iterator() return sampler() end
      return function() return iterator end, set, warp
   end,
   one_loader = function(set, warp)
      local loader = data.loader(set, { sampler = class_batches(set, 100), augment = warp, workers = 2,
         seed = 4 })
      return function() return loader end
   end,
   loaders = function(set, warp)
      return function(epoch)
         return (data.loader(set, { batch_size = 11, augment = warp, workers = 2, seed = 100 + epoch }))
      end
   end,
}

--- The options of a run; `width` of the hidden layer makes files large or small; `iterator` is one of the
-- names above.
function M.options(width, iterator)
   siamese.manual_seed(5)
   local set = data.glyphs{ classes = 12, samples = 6, size = 12, seed = 2 }
   local twin = siamese.Twin{ encoder = network(width or 16), distance = "cosine" }
   local opt = optim.AdamW(twin:parameters(), { lr = 1e-2 })
   local warp = siamese.augment.Affine{ rotation = 10, seed = 3 }
   local fresh = siamese.Generator(8)
   local batches, indexed, augment = M.iterators[iterator or "samplers"](set, warp)
   return {
      model = twin, loss = siamese.losses.NTXent{}, optimizer = opt, data = batches, set = indexed,
      augment = augment,
      schedule = optim.lr_scheduler.OneCycleLR(opt, { max_lr = 2e-2, total_steps = 1000 }),
      average = siamese.averaging.EMA(twin, { decay = 0.9 }), accumulate = 2, clip_norm = 1,
      validate = function()
         fresh:uniform() -- must not be heard of in training
         siamese.rand(2)
         local x, labels = set:batch{ 1, 2, 7, 8, 13, 14 }
         return siamese.metrics.retrieval(twin:embed(x), labels, { k = 1 }).map_at_r
      end, validate_every = { steps = 5 }, keep_best = true,
      state = { fresh = fresh },
   }
end

--- Everything that two runs must agree in: tensors and records, but for the clock's.
function M.outcome(o, result)
   local state = {}
   for name, tensor in pairs(o.model:state_dict()) do
      state["model." .. name] = tensor
   end
   for name, tensor in pairs(o.average.shadow) do
      state["average." .. name] = tensor
   end
   for i, group in ipairs(o.optimizer:state_dict().groups) do
      for _, key in ipairs{ "first", "second" } do
         for k, tensor in pairs(group[key]) do
            state[("optimizer.%d.%s.%d"):format(i, key, k)] = tensor
         end
      end
   end
   local lines = {}
   for i, record in ipairs(result.history.records) do
      local copy = {}
      for key, value in pairs(record) do
         copy[key] = key ~= "seconds" and value or nil
      end
      lines[i] = require("siamese.json").encode(copy)
   end
   return state, table.concat(lines, "\n")
end

if arg and arg[0] and arg[0]:match("support_fit%.lua$") then
   local path, result_path, steps, exit = arg[1], arg[2], math.tointeger(arg[3]), math.tointeger(arg[5])
   local o = M.options(exit and 16 or 600, arg[4])
   o.steps, o.checkpoint = steps, { path = path, every_steps = 1 }
   o.callbacks = { on_step = function(run)
      if run.step == exit then
         os.exit(9)
      end
   end }
   o.history = siamese.History{ csv = path .. ".csv", jsonl = path .. ".jsonl" }
   local state, records = M.outcome(o, assert(siamese.fit(o)))
   assert(siamese.save(result_path, state, { metadata = { records = records } }))
end

return M
