package import Testing

#if canImport(Glibc)
    import Glibc
#endif

extension Trait where Self == ConditionTrait {
    /// Elsewhere the test is skipped and says so.
    package static var needsRoot: Self { .enabled(if: geteuid() == 0, "needs root") }

    /// Numbers mean something only on a machine that does nothing else.
    package static var measuresOnDemand: Self {
        .enabled(if: getenv("FASTABLE_MEASURE") != nil, "set FASTABLE_MEASURE to measure")
    }
}

extension Trait where Self == TimeLimitTrait {
    /// A test that hangs does not hang the run. How long others take is no part of what they say: on a busy machine, where hundreds of
    /// them share two cores, it is many times of what is usual.
    package static var endsInTime: Self { .timeLimit(.minutes(10)) }
}
