//! `/pangeo scale`: more and fewer worker nodes, and nobody loses a server.

use std::time::{Duration, Instant};

use sandbox::frontend::ServerSize;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

/// A notebook of which one fits on a worker of 8 cores and 32 GB.
const LARGE: ServerSize = ServerSize {
    cpu_milli: 4000,
    memory: 20_000_000_000,
};

/// A cluster with its infrastructure's id.
struct Geo {
    scene: Scene,
    id: String,
}

impl Geo {
    async fn deployed(pool: PgPool) -> Self {
        let scene = Scene::start(pool).await;
        let id = scene.deploys("").await;
        Self { scene, id }
    }

    async fn asks(&self, options: &str) -> String {
        let typed = format!("/pangeo scale name:geo {options}");
        let ana = self.scene.person("ana");
        ana.runs(&typed).await.answer().await.text()
    }

    /// Max and free nodes as IM's template has them, and as CLUES' files do.
    fn counts(&self) -> [(u64, u64); 2] {
        let inputs = self
            .scene
            .world
            .im
            .infrastructure("pangeo-geo")
            .unwrap()
            .inputs;
        let input = |name: &str| inputs[name].as_u64().unwrap();
        let etc = self.scene.world.front_ends.root(&self.id).unwrap();
        let read = |name: &str| std::fs::read_to_string(etc.join("etc/clues2").join(name)).unwrap();
        let vnodes: Vec<serde_json::Value> =
            serde_json::from_str(&read("kubernetes_vnodes.info")).unwrap();
        let config = read("clues2.cfg");
        let free = config
            .lines()
            .find_map(|line| line.strip_prefix("EXTRA_NODES_FREE="));
        [
            (input("max_wn_num"), input("min_wn_num")),
            (vnodes.len() as u64, free.unwrap().parse().unwrap()),
        ]
    }

    /// The nodes that are on, and those that take nothing new.
    fn nodes(&self) -> (Vec<String>, Vec<String>) {
        let nodes = self.scene.world.front_ends.nodes(&self.id);
        let names = |of: &dyn Fn(&sandbox::frontend::NodeView) -> bool| {
            let nodes = nodes.iter().filter(|node| of(node));
            nodes.map(|node| node.name.clone()).collect()
        };
        let on = |node: &sandbox::frontend::NodeView| ["idle", "used"].contains(&&*node.state);
        (names(&on), names(&|node| node.cordoned))
    }

    async fn runs_on(&self, user: &str, node: &str) {
        let began = Instant::now();
        let mut look = tokio::time::interval(Duration::from_millis(50));
        loop {
            look.tick().await;
            let servers = self.scene.world.front_ends.servers(&self.id);
            let its = servers.into_iter().find(|(name, _)| name == user);
            if its.is_some_and(|(_, on)| on.as_deref() == Some(node)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{user} is not on {node}");
        }
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_cluster_grows_and_shrinks_and_nobody_loses_a_server(pool: PgPool) {
    let geo = Geo::deployed(pool).await;
    let (scene, front_ends) = (&geo.scene, &geo.scene.world.front_ends);
    assert_eq!(geo.counts(), [(5, 0); 2]);
    let refused = geo.asks("min-free:6 now:6").await;
    assert!(refused.contains("can't be kept free"), "{refused}");
    assert!(geo.asks("max:5").await.contains("nothing would change"));

    // Growing: numbers alike everywhere, two nodes more, nothing else touched.
    geo.asks("max:7 now:3").await;
    let plan = scene.plan("Scale `geo`").await;
    for line in [
        "- at most 5 worker nodes, 0 kept free",
        "+ at most 7 worker nodes, 0 kept free",
        "+ power on wn2, wn3",
        "cores: 48 more at its largest",
    ] {
        assert!(plan.says(line), "{line}: {}", plan.text());
    }
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("powered on: wn2, wn3").await;
    assert_eq!(geo.counts(), [(7, 0); 2]);
    assert_eq!(geo.nodes().0, ["wn1", "wn2", "wn3"]);
    let vms = || scene.world.im.infrastructure("pangeo-geo").unwrap().vms;
    assert_eq!(vms().len(), 4);
    let ana = scene.person("ana");

    // Shrinking: who uses a node is named, and in the way.
    for (user, node) in [("ana", "wn1"), ("eva", "wn2"), ("vic", "wn3")] {
        front_ends.start_server(&geo.id, user, LARGE);
        geo.runs_on(user, node).await;
    }
    let refused = geo.asks("max:2 min-free:1").await;
    assert!(
        refused.contains("wn3") && refused.contains("vic"),
        "{refused}"
    );
    front_ends.stop_server(&geo.id, "vic");
    geo.asks("max:2 min-free:1").await;
    let plan = scene.plan("- drain wn3 and power off").await;
    front_ends.start_server(&geo.id, "zed", LARGE);
    geo.runs_on("zed", "wn3").await;
    scene.person("ben").reacts(&plan, "✅");
    let stopped = scene
        .stops("servers are in the way: wn3: zed", "have ended")
        .await;
    assert_eq!(geo.nodes().1, ["wn3"]);
    assert_eq!(geo.counts(), [(7, 0); 2]);
    geo.runs_on("zed", "wn3").await;

    front_ends.stop_server(&geo.id, "zed");
    ana.presses_on(&stopped, "Retry").await.answer().await;
    scene.sees("powered off: wn3").await;
    assert_eq!(geo.counts(), [(2, 1); 2]);
    assert_eq!(
        geo.nodes(),
        (vec!["wn1".to_owned(), "wn2".to_owned()], vec![])
    );
    assert_eq!(vms().len(), 3);
    geo.runs_on("ana", "wn1").await;
    geo.runs_on("eva", "wn2").await;
    let sql = "select count(*) from clusters where options ->> 'workers_max' = '2'";
    scene.counts(sql, 1).await;
    scene.nothing_unexpected();
}
