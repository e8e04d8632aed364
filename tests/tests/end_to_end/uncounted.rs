//! Sides whose load balancers count no requests, and counts of one's own that stand in for these.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, LoadBalancerTypeEnum, ProtocolEnum, TargetDescription,
};
use tests::{Case, Given, SILENT};

use crate::shared::busiest_hour_has_8_hosts;
use crate::signals::orders;
use crate::world::point_at;

/// Makes a network load balancer with two targets, and turns the records of a side to it.
async fn serve_by_network_balancer(case: &Case, side: &str) {
    let client = aws_sdk_elasticloadbalancingv2::Client::new(case.config());
    let create = client.create_load_balancer().name(format!("net-{side}"));
    let create = create.r#type(LoadBalancerTypeEnum::Network).subnets("subnet-0000000000000000a");
    let created = create.send().await.expect("created");
    let balancer = &created.load_balancers()[0];
    let group = client.create_target_group().name(format!("net-{side}"));
    let group = group.protocol(ProtocolEnum::Tcp).port(443).vpc_id("vpc-00000001").send().await;
    let group = group.expect("created").target_groups()[0].target_group_arn.clone();
    let forward = Action::builder().r#type(ActionTypeEnum::Forward);
    client
        .create_listener()
        .set_load_balancer_arn(balancer.load_balancer_arn.clone())
        .protocol(ProtocolEnum::Tcp)
        .port(443)
        .default_actions(forward.set_target_group_arn(group.clone()).build())
        .send()
        .await
        .expect("created");
    let target = |ip: &str| TargetDescription::builder().id(ip).port(443).build();
    let register = client.register_targets().set_target_group_arn(group);
    register.targets(target("10.0.0.1")).targets(target("10.0.0.2")).send().await.expect("done");
    point_at(case, side, balancer.dns_name().expect("a name")).await;
}

#[tokio::test]
async fn behind_network_load_balancers_ones_own_counts_alone_decide() {
    for (failed, error) in [(0, ""), (40, "RolledBack")] {
        let case = Given { rates: (SILENT, SILENT), ..Given::default() }.case().await;
        let (old, new) = (case.world.old.name.clone(), case.new_side().name.clone());
        for side in [&old, &new] {
            serve_by_network_balancer(&case, side).await;
        }
        for (side, failed) in [(&case.world.old, 0), (case.new_side(), failed)] {
            case.count_own(side, "Orders", 100).await;
            case.count_own(side, "FailedOrders", failed).await;
        }
        let mut request = case.request();
        request["health"]["signals"] = orders();
        let end = case.run(&request).await;
        assert_eq!(end.error, error, "{end:?}");
        let reason = end.report().reason;
        assert!(reason.contains("orders failed"), "{reason}");
        let live = if error.is_empty() { (0, 100) } else { (100, 0) };
        assert_eq!(case.live().await, live);
        if error.is_empty() {
            assert!(reason.contains("judged by orders alone"), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_new_side_that_counts_no_requests_must_have_the_hosts_of_the_busiest_hour_as_well() {
    let case = Given::default().case().await;
    case.count_own(&case.world.old, "Orders", 100).await;
    serve_by_network_balancer(&case, &case.new_side().name.clone()).await;
    let mut request = case.request();
    request["health"]["signals"] = orders();
    busiest_hour_has_8_hosts(&case, &request).await;
}
