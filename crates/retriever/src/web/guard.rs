//! Guard against server-side request forgery.
//!
//! An agent that reads pages reads whatever a search engine or a redirection names. Without a
//! guard that is also the service beside it, the router, and the metadata of the cloud it runs in.
//! Here a name is resolved once, all of its addresses are checked, and the connection goes to a
//! checked address: a name that resolves to something else the second time (DNS rebinding) is of no
//! use.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Blocks of addresses that are not part of the public internet (IANA's special-purpose
/// registries), and one that is and holds the metadata of Azure.
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Blocks of `2000::/3` that are not public: tunnels, which hold another address, and examples.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address is one of the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => NOT_PUBLIC_V4.iter().all(|&(block, bits)| {
            u32::from(address) >> (32 - bits) != u32::from(block) >> (32 - bits)
        }),
        IpAddr::V6(address) => {
            if let Some(inner) = inner(address) {
                return is_public(IpAddr::V4(inner));
            }
            let number = u128::from(address);
            number >> 125 == 1
                && NOT_PUBLIC_V6.iter().all(|&(block, bits)| {
                    number >> (128 - bits) != u128::from(block) >> (128 - bits)
                })
        }
    }
}

/// IPv4 address in a mapped one, or in one of NAT64 (RFC 6052).
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let is_nat64 = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let last = u128::from(address) as u32;
    address.to_ipv4_mapped().or_else(|| is_nat64.then(|| Ipv4Addr::from(last)))
}

/// Error: a name resolves to an address that must not be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotPublic {
    host: String,
    address: IpAddr,
}

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address } = self;
        write!(f, "`{host}` is {address}, which is no address of the public internet")
    }
}

impl Error for NotPublic {}

/// Resolver that refuses names with an address that is not permitted.
pub(super) struct GuardedResolver {
    system: DefaultResolver,
    permits: fn(IpAddr) -> bool,
}

impl GuardedResolver {
    pub(super) fn new(permits: fn(IpAddr) -> bool) -> Self {
        Self { system: DefaultResolver::default(), permits }
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedResolver")
    }
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.system.resolve(uri, config, timeout)?;
        match found.iter().map(SocketAddr::ip).find(|&address| !(self.permits)(address)) {
            None => Ok(found),
            Some(address) => {
                let host = uri.host().unwrap_or_default().to_owned();
                Err(ureq::Error::Other(Box::new(NotPublic { host, address })))
            }
        }
    }
}

/// Blocked domains, with all below them.
#[derive(Debug, Clone)]
pub(super) struct Blocklist(Vec<String>);

impl Blocklist {
    /// List of domains, which are compared without case and without a dot at either end.
    pub(super) fn new(domains: &[String]) -> Self {
        Self(domains.iter().map(|name| name.trim().trim_matches('.').to_lowercase()).collect())
    }

    pub(super) fn has(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_lowercase();
        self.0.iter().any(|domain| {
            host.strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.8.9.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:a9fe:a9fe",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.128.0.1",
            "168.63.129.17",
            "172.15.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2606:4700::1111",
            "2a00:1450:4001::8a",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn domains_with_all_below_them() {
        let list = Blocklist::new(&[" .Example.org".to_owned(), "x.net.".to_owned()]);
        for host in ["example.org", "WWW.Example.ORG", "a.b.example.org.", "x.net"] {
            assert!(list.has(host), "{host}");
        }
        for host in ["badexample.org", "example.org.evil.com", "net", "y.net", ""] {
            assert!(!list.has(host), "{host}");
        }
    }
}
