use super::*;

fn tickets(words: &[Word; 4]) -> Tickets<'_> {
    let [offered, entered, lost, drained] = words;
    Tickets {
        offered,
        entered,
        lost,
        drained,
    }
}

fn counts(tickets: Tickets<'_>) -> [u64; 3] {
    let accounting = tickets.accounting();
    [accounting.offered, accounting.lost, accounting.drained]
}

#[test]
fn no_more_are_admitted_than_there_is_room_for() {
    let words = [const { Word::new(0) }; 4];
    let tickets = tickets(&words);
    for number in 0..3 {
        let is_admitted = true;
        let ticket = tickets.take(3);
        assert_eq!(
            ticket,
            Ticket {
                number,
                is_admitted
            }
        );
        assert_eq!(tickets.enter(), number);
    }
    assert!(!tickets.take(3).is_admitted);
    assert!(!tickets.is_quiet() && tickets.settled().is_none());
    tickets.lose();
    tickets.count_drained(1);
    assert!(tickets.take(3).is_admitted);
    assert!(!tickets.take(3).is_admitted);
    tickets.lose();
    tickets.count_drained(3);
    assert_eq!(counts(tickets), [6, 2, 4]);
    assert!(tickets.is_quiet());
    assert_eq!(tickets.settled(), Some(3));
    assert_eq!((tickets.given(), tickets.pass_over()), (6, 6));
}

#[test]
fn a_closed_ring_admits_nothing_and_a_sealed_one_loses_the_rest() {
    let words = [const { Word::new(0) }; 4];
    let tickets = tickets(&words);
    for _ in 0..2 {
        assert!(tickets.take(3).is_admitted);
    }
    tickets.close();
    assert!(!tickets.take(3).is_admitted);
    tickets.lose();
    tickets.count_drained(1);
    assert_eq!(counts(tickets), [3, 1, 1]);
    assert!(!tickets.is_quiet());
    tickets.seal();
    assert_eq!(counts(tickets), [3, 2, 1]);
    assert!(!tickets.take(3).is_admitted);
    assert_eq!(counts(tickets), [4, 3, 1]);
}
