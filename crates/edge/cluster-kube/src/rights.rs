//! Turns a refusal for want of rights into the rule that is missing.

/// What an API server says of a missing right, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Missing<'a> {
    user: &'a str,
    verb: &'a str,
    resource: &'a str,
    group: &'a str,
    /// Empty for the whole cluster.
    namespace: &'a str,
}

impl<'a> Missing<'a> {
    /// Reads the sentence of Kubernetes' authorizer: `X is forbidden: User "U" cannot V resource "R" in API group "G" in
    /// the namespace "N"`, or `at the cluster scope`.
    fn read(message: &'a str) -> Option<Self> {
        let (_, rest) = message.split_once("is forbidden: User \"")?;
        let (user, rest) = rest.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = match rest.split_once("in the namespace \"") {
            Some((_, rest)) => rest.split_once('"')?.0,
            None => "",
        };
        Some(Self {
            user,
            verb,
            resource,
            group,
            namespace,
        })
    }
}

/// The server's words, with the rule to add behind them.
pub(crate) fn explained(message: &str) -> String {
    let Some(missing) = Missing::read(message) else {
        return message.to_owned();
    };
    let Missing {
        user,
        verb,
        resource,
        group,
        namespace,
    } = missing;
    let place = if namespace.is_empty() {
        "a ClusterRole".to_owned()
    } else {
        format!("a Role in namespace {namespace} (or a ClusterRole)")
    };
    format!(
        "{message}; add to {place} that is bound to {user} the rule \
         {{apiGroups: [{group:?}], resources: [{resource:?}], verbs: [{verb:?}]}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_rule_that_is_missing() {
        let check = |message: &str, expected: &[&str]| {
            let text = explained(message);
            for part in expected {
                assert!(text.contains(part), "{part} not in {text}");
            }
        };
        let account = "system:serviceaccount:roadstead-agent:roadstead-agent";
        check(
            &format!(
                "deployments.apps \"web\" is forbidden: User \"{account}\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\""
            ),
            &[
                "a Role in namespace shop",
                account,
                "{apiGroups: [\"apps\"], resources: [\"deployments\"], verbs: [\"patch\"]}",
            ],
        );
        check(
            &format!(
                "nodes is forbidden: User \"{account}\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"
            ),
            &[
                "a ClusterRole that",
                "{apiGroups: [\"\"], resources: [\"nodes\"], verbs: [\"list\"]}",
            ],
        );
        let other = "pods \"a\" is forbidden: exceeded quota: q";
        assert_eq!(explained(other), other);
    }
}
