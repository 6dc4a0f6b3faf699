-- The health of a KitePlugin, from what the operator tells in its status.
local status = obj.status or {}

-- What is told of an older object says nothing of this one.
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not looked at this object yet" }
end

local told = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.status == "True" then
    told[condition.type] = condition.message
  elseif condition.type == "Ready" then
    told.Unready = condition.message
  end
end

if told.Stalled then
  return { status = "Degraded", message = told.Stalled }
elseif told.Reconciling then
  return { status = "Progressing", message = told.Reconciling }
elseif told.Ready then
  return { status = "Healthy", message = told.Ready }
end
return { status = "Progressing", message = told.Unready or "the operator has told nothing yet" }
