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
