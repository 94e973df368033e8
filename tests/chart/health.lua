-- Cases for docs/argocd/health.lua, run by the Lua that Argo CD runs. Ends with an error that names the first case that is wrong.

local script = assert(loadfile("docs/argocd/health.lua"))

local function object(conditions)
  for _, each in ipairs(conditions) do
    each.observedGeneration = each.observedGeneration or 2
    each.message = each.message or ("message of " .. each.type)
  end
  return { metadata = { generation = 2 }, status = { conditions = conditions } }
end

local cases = {
  { "no status at all", { metadata = { generation = 1 } }, "Progressing" },
  { "no conditions", { metadata = { generation = 1 }, status = {} }, "Progressing" },
  {
    "an older version was looked at",
    object({ { type = "Ready", status = "True", reason = "Ready", observedGeneration = 1 } }),
    "Progressing",
  },
  { "a client that is ready", object({ { type = "Accepted", status = "True" }, { type = "Ready", status = "True" } }), "Healthy", "message of Ready" },
  { "a client that is suspended", object({ { type = "Ready", status = "True", reason = "Suspended" } }), "Suspended", "message of Ready" },
  {
    "a client some of whose scopes are refused",
    object({ { type = "FullyGranted", status = "False" }, { type = "Ready", status = "True" } }),
    "Healthy",
    "message of FullyGranted",
  },
  { "a client with no scope granted", object({ { type = "FullyGranted", status = "False" }, { type = "Ready", status = "False" } }), "Degraded", "message of Ready" },
  {
    "a client that waits for a Secret",
    object({ { type = "Ready", status = "False" }, { type = "Reconciling", status = "True" } }),
    "Progressing",
    "message of Reconciling",
  },
  {
    "a client whose Secret is another's",
    object({ { type = "Ready", status = "False" }, { type = "Stalled", status = "True" } }),
    "Degraded",
    "message of Stalled",
  },
  { "a policy in force", object({ { type = "Accepted", status = "True" }, { type = "PartiallyInvalid", status = "False" } }), "Healthy", "message of Accepted" },
  { "a policy that is refused", object({ { type = "Accepted", status = "False" } }), "Degraded", "message of Accepted" },
  {
    "a policy with a bad rule",
    object({ { type = "Accepted", status = "True" }, { type = "PartiallyInvalid", status = "True" } }),
    "Degraded",
    "message of PartiallyInvalid",
  },
  {
    "a policy that only counts",
    object({ { type = "Accepted", status = "True" }, { type = "NotEnforcing", status = "True" } }),
    "Healthy",
    "message of NotEnforcing",
  },
  {
    "a ring that waits for a replica",
    object({ { type = "Ready", status = "True" }, { type = "RotationBlocked", status = "True" } }),
    "Healthy",
    "message of RotationBlocked",
  },
  {
    "a ring put back to an older state",
    object({ { type = "Ready", status = "True" }, { type = "RollbackDetected", status = "True" } }),
    "Degraded",
    "message of RollbackDetected",
  },
  {
    "a ring whose trouble was with an older version",
    object({ { type = "Ready", status = "True" }, { type = "WriteRefused", status = "True", observedGeneration = 1 } }),
    "Healthy",
    "message of Ready",
  },
  { "an allowance", object({ { type = "Accepted", status = "True" } }), "Healthy", "message of Accepted" },
}

for _, case in ipairs(cases) do
  obj = case[2]
  local health = script()
  assert(health.status == case[3], case[1] .. ": " .. health.status .. " where " .. case[3] .. " is right")
  assert(not case[4] or health.message == case[4], case[1] .. ": says " .. tostring(health.message))
end
