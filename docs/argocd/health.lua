-- What Argo CD makes of an OAuthClient, ScopePolicy, NamespaceAllowance or SigningKey: one script for all four.
-- In: `obj`. Out: status and message. A condition counts only if it speaks of the present spec.

local function condition(type, status)
  for _, each in ipairs(obj.status and obj.status.conditions or {}) do
    local current = not each.observedGeneration or each.observedGeneration == obj.metadata.generation
    if each.type == type and current and (not status or each.status == status) then
      return each
    end
  end
end

local function said(status, by)
  return { status = status, message = by.message or by.reason or by.type }
end

-- A client or ring is ready or not; a policy or allowance is accepted or not.
local summary = condition("Ready") or condition("Accepted")
if not summary then
  return { status = "Progressing", message = "the controller has not looked at this version yet" }
end
-- What calls for a person although the rest may serve.
for _, type in ipairs({ "Stalled", "WriteRefused", "NoStandby", "RollbackDetected", "PartiallyInvalid" }) do
  local bad = condition(type, "True")
  if bad then
    return said("Degraded", bad)
  end
end
if summary.status ~= "True" then
  local reconciling = condition("Reconciling", "True")
  return reconciling and said("Progressing", reconciling) or said("Degraded", summary)
end
if summary.reason == "Suspended" then
  return said("Suspended", summary)
end
-- What is worth saying of an object that does its work: another team's consent may take days, and holds up no sync.
return said(
  "Healthy",
  condition("ResolvedRefs", "False")
    or condition("FullyGranted", "False")
    or condition("NotEnforcing", "True")
    or condition("RotationBlocked", "True")
    or summary
)
