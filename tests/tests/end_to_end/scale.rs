//! 250 routes in one cutover, and how many calls that takes.

use lab::world::RecordKind;
use serde_json::json;
use tests::Given;

#[tokio::test]
async fn a_cutover_of_250_routes_moves_all_of_them() {
    let case = Given { routes: 250, ..Given::default() }.case().await;
    let end = case.run(&case.request()).await;
    assert_eq!(end.status, "SUCCEEDED", "{:?} {}", end.error, end.cause);
    assert_eq!(case.live_of("CNAME").await, vec![(0, 100); 250]);
    let report = end.report();
    assert_eq!(report.routes.len() + report.omitted, 250);
}

#[tokio::test]
async fn a_first_shift_of_250_routes_with_a_and_aaaa_takes_three_changes_and_one_for_their_fences()
{
    let records = RecordKind::AliasAAndAaaa;
    let case = Given { routes: 250, records, ..Given::default() }.case().await;
    let accepted = json!(case.accepted(&case.request()).await);
    let before = case.proxy().calls_containing(&case.world.zone.id);
    case.invoke("ShiftWeightFunctionName", &accepted).await.expect("shifted");
    let after = case.proxy().calls_containing(&case.world.zone.id);
    let change = ("route53".to_owned(), "ChangeResourceRecordSets".to_owned());
    let changes = |calls: &lab::proxy::Calls| calls.get(&change).copied().unwrap_or_default();
    assert_eq!(changes(&after) - changes(&before), 3 + 1);
    assert_eq!(case.live_of("A").await, vec![(50, 50); 250]);
    assert_eq!(case.live_of("AAAA").await, vec![(50, 50); 250]);
}
