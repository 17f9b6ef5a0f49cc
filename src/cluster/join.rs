//! Adds a node to the cluster.

use crate::catalog::{self, Address, NewNode, Node, NodeId};
use crate::cluster::connect;
use crate::cluster::ownership;
use crate::cluster::{check, sync};
use crate::ddl::reference_table;
use crate::error::{Error, Result};
use crate::pg::session;
use crate::rebalance;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// Arguments of `helios_add_node()`.
pub struct NodeRequest<'a> {
    pub name: &'a str,
    pub host: &'a str,
    pub port: i32,
    pub database: Option<String>,
    pub weight: f64,
    pub takes_schemas: bool,
    pub options: Vec<String>,
}

/// Checks and prepares the server, adds it to the directory, and assigns it its share of the empty shards.
pub fn add(request: NodeRequest<'_>) -> Result<NodeId> {
    let node = described(&request)?;
    catalog::lock_cluster();
    catalog::nodes()?.iter().try_for_each(|node| node.check_ours())?;
    refuse_known(&node)?;
    let mut session = connect(&node)?;
    check::prepare(&node, &mut session)?;
    sync::bring_up_to_date(&node, &mut session)?;
    let id = catalog::add_node(&NewNode {
        name: &node.name,
        addresses: &node.addresses,
        database: &node.database,
        options: &request.options,
        weight: node.weight,
        takes_schemas: node.takes_schemas,
    })?;
    catalog::exclude_local_node()?;
    ownership::stake(&*catalog::node(id)?)?;
    reference_table::copy_to_node(id)?;
    let nodes: Vec<Rc<Node>> = catalog::nodes()?.iter().cloned().collect();
    rebalance::place_empty_shards(&nodes)?;
    Ok(id)
}

fn described(request: &NodeRequest<'_>) -> Result<Node> {
    let invalid = |message: String| Error::new(Code::ERRCODE_INVALID_PARAMETER_VALUE, message);
    if request.name.is_empty() || request.name.len() > 63 || request.name.contains('\0') {
        return Err(Error::new(
            Code::ERRCODE_INVALID_NAME,
            format!("invalid node name: \"{}\"", request.name),
        )
        .hint("A node name must have 1 to 63 bytes."));
    }
    let port = u16::try_from(request.port).ok().filter(|port| *port > 0).ok_or_else(|| {
        invalid(format!("invalid port {}", request.port))
            .hint("Port numbers range from 1 to 65535.")
    })?;
    if !(request.weight.is_finite() && request.weight > 0.0) {
        return Err(invalid(format!("invalid weight {}", request.weight))
            .hint("The weight must be greater than zero; the default is 1."));
    }
    let addresses = addresses(request.host, port)?;
    let mut options = std::collections::BTreeMap::new();
    for option in &request.options {
        let (key, value) = option.split_once('=').ok_or_else(|| {
            invalid(format!("invalid connection option \"{option}\""))
                .hint("Write options as key=value.")
        })?;
        if key == "password" {
            return Err(invalid("password is not allowed as a connection option".into()).hint(
                "Store it in helios.credential or in the server's password file (helios.passfile).",
            ));
        }
        options.insert(key.to_owned(), value.to_owned());
    }
    Ok(Node {
        id: NodeId(-1),
        name: request.name.to_owned(),
        addresses,
        database: request.database.clone().unwrap_or_else(session::database),
        options,
        is_local: false,
        state: "online".into(),
        weight: request.weight,
        takes_schemas: request.takes_schemas,
        is_foreign: false,
    })
}

/// Parses a comma-separated list of `host`, `host:port` or `[v6]:port`; `port` is the default.
fn addresses(hosts: &str, port: u16) -> Result<Vec<Address>> {
    let invalid = |host: &str| {
        Error::new(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("invalid address \"{host}\""))
            .hint("Write addresses as host or host:port, and IPv6 addresses as [address]:port.")
    };
    let one = |host: &str| -> Result<Address> {
        let host = host.trim();
        let (name, written) = match host.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']').ok_or_else(|| invalid(host))?;
                (name, port.strip_prefix(':'))
            }
            None if host.matches(':').count() == 1 => {
                let (name, written) = host.split_once(':').ok_or_else(|| invalid(host))?;
                (name, Some(written))
            }
            None => (host, None),
        };
        let port = match written {
            Some(written) => {
                written.parse().ok().filter(|p| *p > 0).ok_or_else(|| invalid(host))?
            }
            None => port,
        };
        match name.is_empty() || name.contains(char::is_whitespace) {
            true => Err(invalid(host)),
            false => Ok(Address { host: name.to_owned(), port }),
        }
    };
    hosts.split(',').map(one).collect()
}

fn refuse_known(node: &Node) -> Result<()> {
    for known in catalog::nodes()?.iter() {
        if known.name == node.name {
            return Err(Error::new(
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!("node \"{}\" already exists", node.name),
            )
            .hint("Choose another name."));
        }
        let shared = known.addresses.iter().find(|address| node.addresses.contains(address));
        if let Some(address) = shared.filter(|_| known.database == node.database && !known.is_local)
        {
            return Err(Error::new(
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!(
                    "address of node \"{}\" is already {}:{}",
                    known.name, address.host, address.port
                ),
            )
            .detail(format!("Its database is also \"{}\".", known.database)));
        }
    }
    Ok(())
}
