--- A training run with everything that has a state in it, for specs; and, run as a script, a process that
-- may be killed:
--
--    lua5.4 spec/support_fit.lua CHECKPOINT RESULT STEPS
--
-- It trains up to so many steps, going on from the checkpoint if it is there, and writes what came of it.
local siamese = require "siamese"

local data, nn, optim = siamese.data, siamese.nn, siamese.optim
local M = {}

local function network(width)
   return nn.Sequential{ nn.Flatten{}, nn.Linear{ in_features = 144, out_features = width },
      nn.BatchNorm1d{ num_features = width }, nn.ReLU{}, nn.Dropout{ p = 0.2 },
      nn.Linear{ in_features = width, out_features = 8 } }
end

--- The options of a run; `width` of the hidden layer makes files large or small.
function M.options(width)
   siamese.manual_seed(5)
   local set = data.glyphs{ classes = 12, samples = 6, size = 12, seed = 2 }
   local twin = siamese.Twin{ encoder = network(width or 16), distance = "cosine" }
   local opt = optim.AdamW(twin:parameters(), { lr = 1e-2 })
   local warp = siamese.augment.Affine{ rotation = 10, seed = 3 }
   local fresh = siamese.Generator(8)
   return {
      model = twin, loss = siamese.losses.NTXent{}, set = set, augment = warp, optimizer = opt,
      data = function(epoch)
         return data.class_batches(set, { classes = 4, samples = 2, batches = 7, seed = 100 + epoch })
      end,
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
   local path, result_path, steps = arg[1], arg[2], math.tointeger(arg[3])
   local o = M.options(600)
   o.steps, o.checkpoint = steps, { path = path, every_steps = 1 }
   o.history = siamese.History{ csv = path .. ".csv", jsonl = path .. ".jsonl" }
   local state, records = M.outcome(o, assert(siamese.fit(o)))
   assert(siamese.save(result_path, state, { metadata = { records = records } }))
end

return M
