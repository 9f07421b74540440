//! What a storage node shows.

use async_trait::async_trait;

use super::Exposition;
use crate::admin::stage::Subject;
use crate::node::NodeReport;

/// A node that runs. Asks it for its report.
pub struct NodeSubject<F>(pub F);

#[async_trait]
impl<F: Fn() -> NodeReport + Send + Sync + 'static> Subject for NodeSubject<F> {
    async fn ready(&self) -> Result<String, String> {
        (self.0)().readiness()
    }

    fn measure(&self, page: &mut Exposition) {
        let report = (self.0)();
        let doors = |state: &str| report.doors.iter().filter(|door| door.state == state).count();
        page.gauge("cairn_node_doors", "Doors of the cluster that the node knows, by how it stands with them")
            .sample(&[("state", "connected")], doors("connected"))
            .sample(&[("state", "dialling")], doors("dialling"))
            .sample(&[("state", "waiting")], doors("waiting"));
        let traffic = report.traffic.since_start;
        page.counter("cairn_node_received_bytes_total", "Bytes from doors, TLS included")
            .sample(&[], traffic.received_bytes);
        page.counter("cairn_node_sent_bytes_total", "Bytes to doors, TLS included").sample(&[], traffic.sent_bytes);
        let Some(disk) = report.disk else { return };
        page.gauge("cairn_node_capacity_bytes", "Bytes that the node may use").sample(&[], disk.capacity_bytes);
        page.gauge("cairn_node_used_bytes", "Bytes that the node uses, by what they hold")
            .sample(&[("kind", "live")], disk.live_bytes)
            .sample(&[("kind", "trash")], disk.trash_bytes)
            .sample(&[("kind", "dead")], disk.dead_bytes)
            .sample(&[("kind", "overhead")], disk.overhead_bytes);
        page.gauge("cairn_node_free_bytes", "Capacity less what is used").sample(&[], disk.free_bytes);
        page.gauge("cairn_node_pieces", "Pieces, live and in the trash").sample(&[], disk.pieces);
        page.gauge("cairn_node_damaged_pieces", "Pieces that the disk has lost or changed").sample(&[], disk.damaged);
    }
}
