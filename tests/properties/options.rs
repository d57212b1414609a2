//! The options after a command's fixed arguments.

use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::kinds::decision::{Ask, Mode};

const TAKE: &[OptionName] = &[
    OptionName::Cost,
    OptionName::Keep,
    OptionName::AtMost,
    OptionName::MaxWait,
    OptionName::Force,
];

fn parse(text: &'static str, accepted: &'static [OptionName]) -> Result<Options, String> {
    let words: Vec<&[u8]> = text.split_whitespace().map(str::as_bytes).collect();
    Options::parse(&words, accepted).map_err(|error| error.to_string())
}

#[test]
fn options_determine_the_request() {
    for (text, cost, keep, mode) in [
        ("", 1, 0, Mode::Whole),
        ("COST 7", 7, 0, Mode::Whole),
        ("KEEP 3", 1, 3, Mode::Whole),
        ("keep 3 cost 1e1", 10, 3, Mode::Whole),
        ("ATMOST", 1, 0, Mode::AtMost),
        ("ATMOST KEEP 3 COST 5", 5, 3, Mode::AtMost),
        ("MaxWait 250 COST 2", 2, 0, Mode::MaxWait(250)),
        ("MAXWAIT 0", 1, 0, Mode::MaxWait(0)),
        ("COST 2 FORCE", 2, 0, Mode::Force),
    ] {
        let options = parse(text, TAKE).expect(text);
        assert_eq!(options.ask(), Ask { cost, keep, mode }, "{text}");
        assert_eq!(options.keep(), keep, "{text}");
        assert_eq!(options.cost(), cost, "{text}");
    }
    let told = |text| {
        let options = parse(text, &[OptionName::Count, OptionName::Once]).expect(text);
        (options.count(), options.once())
    };
    assert_eq!(told(""), (None, false));
    assert_eq!(told("COUNT 5"), (Some(5), false));
    assert_eq!(told("ONCE COUNT 7"), (Some(7), true));
}

#[test]
fn repeated_and_conflicting_options_are_rejected() {
    for (text, error) in [
        ("COST 1 cost 1", "option 'cost' is given twice"),
        ("KEEP 1 COST 1 KEEP 2", "option 'KEEP' is given twice"),
        ("ATMOST atmost", "option 'atmost' is given twice"),
        ("FORCE COST 2 FORCE", "option 'FORCE' is given twice"),
        ("MAXWAIT 1 MAXWAIT 2", "option 'MAXWAIT' is given twice"),
        ("ATMOST FORCE", "option 'FORCE' conflicts with ATMOST"),
        ("FORCE MAXWAIT 5", "option 'MAXWAIT' conflicts with FORCE"),
        ("MAXWAIT 5 ATMOST", "option 'ATMOST' conflicts with MAXWAIT"),
        ("KEEP 1 FORCE", "option 'KEEP' conflicts with FORCE"),
        ("MAXWAIT 5 KEEP 1", "option 'KEEP' conflicts with MAXWAIT"),
        ("COST", "option 'COST' needs a value"),
        ("MAXWAIT", "option 'MAXWAIT' needs a value"),
        ("2", "unknown option '2': write COST 2"),
        ("COST 1 2", "unknown option '2'; accepted: COST n, "),
    ] {
        let told = parse(text, TAKE).expect_err(text);
        let expected = format!("syntax error: {error}");
        assert!(told.starts_with(&expected), "{text}: {told}");
    }
    let twice =
        parse("ONCE COUNT 1 once", &[OptionName::Count, OptionName::Once]).expect_err("twice");
    assert_eq!(twice, "syntax error: option 'once' is given twice");
}
