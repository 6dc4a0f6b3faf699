//! The faults: what a plugin may do wrong, one for each rule.

use crate::Rule;

/// Faults and the rules that they break, in one table: a rule without a fault does not compile.
macro_rules! faults {
    ($($rule:ident: $(#[doc = $sentence:literal])+ $fault:ident;)+) => {
        /// What the reference plugin does wrong.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, strum::EnumIter)]
        pub enum Fault { $($(#[doc = $sentence])+ $fault,)+ }

        impl Fault {
            /// The fault by which exactly this rule is broken.
            pub fn against(rule: Rule) -> Self {
                match rule { $(Rule::$rule => Self::$fault,)+ }
            }
        }
    };
}

faults! {
    RefusesNoCertificate: /// Takes clients without a certificate.
        TakesNoCertificate;
    RefusesOtherAuthority: /// Takes a client's certificate of another CA.
        TakesOtherAuthority;
    RefusesServerCertificate: /// Takes a certificate that is for servers only.
        TakesServerCertificate;
    RefusesPlainText: /// Speaks HTTP/2 without TLS to whoever begins so.
        SpeaksPlainText;
    RefusesOldTls: /// Answers TLS 1.1.
        SpeaksOldTls;
    AgreesOnH2: /// Has no ALPN.
        NoAlpn;
    PresentsItsCertificate: /// Presents a certificate of another name.
        OtherName;
    HealthServing: /// Does not know the plugin's service on the health port.
        UnknownHealthService;
    HealthAlone: /// Has the plugin's service on the health port.
        PluginOnHealthPort;
    HealthSilent: /// Answers every path on the health port.
        HealthAnswersAll;
    DescribeAnswers: /// Is so slow to describe itself that it never does.
        SlowDescribe;
    DescribeSame: /// Has definitions that change.
        DefinitionsChange;
    DescribeName: /// Says that it has another name.
        SaysOtherName;
    DescribeVersion: /// Has a version that is none.
        BadVersion;
    DescribeProtocol: /// Speaks a later protocol.
        OtherProtocol;
    DescribeDefinitions: /// Has definitions that are none.
        BadDefinitions;
    ToolsInOrder: /// Has its tools in another order.
        ToolsOutOfOrder;
    ToolNames: /// Has a tool with capitals in its name.
        BadToolName;
    ToolTexts: /// Has a tool with a long description.
        LongDescription;
    ToolSchemas: /// Has a tool whose schema refers to elsewhere.
        RemoteSchema;
    TypesInOrder: /// Has its types in another order.
        TypesOutOfOrder;
    TypeNames: /// Has a type with capitals in its name.
        BadTypeName;
    TypeTexts: /// Has a type that hides what it says.
        HiddenTypeText;
    TypeSchemas: /// Has a type whose schema is none.
        BadTypeSchema;
    TypeVerbs: /// Has a type with a verb twice.
        VerbTwice;
    FilesInOrder: /// Has its files in another order.
        FilesOutOfOrder;
    FilePaths: /// Has a file whose path leads upwards.
        PathUpwards;
    FileDigests: /// Has a digest that is cut.
        ShortDigest;
    FileSizes: /// Has a file that is too large.
        LargeFile;
    FileMediaTypes: /// Has a media type that is none.
        BadMediaType;
    Permissions: /// Wants a permission to do nothing.
        EmptyPermission;
    JsonBounds: /// Has a schema with a key twice.
        KeyTwice;
    AbsentMethods: /// Fails when it is asked for what it does not have.
        FailsOnAbsentMethods;
    HttpHeadFirst: /// Sends the head again.
        HeadTwice;
    HttpTrailersLast: /// Sends trailers before the end.
        EarlyTrailers;
    HttpData: /// Sends oversize pieces.
        LargeData;
    HttpMessage: /// Sends oversize messages.
        LargeMessage;
    HttpHead: /// Sends more header fields than there may be.
        ManyFields;
    HttpFieldNames: /// Sends a header field with capitals.
        UpperCaseName;
    HttpFieldValues: /// Sends a header field with a line break.
        BrokenValue;
    HttpStatus: /// Answers with a status that is none.
        BadStatus;
    HttpNoInterim: /// Answers with an interim response.
        Interim;
    HttpContentLength: /// Sends more than its Content-Length says.
        WrongLength;
    HttpCompletes: /// Crashes in mid-stream.
        BreaksOff;
    HttpEndsOnce: /// Goes on after the end.
        GoesOn;
    HttpHeadMethod: /// Answers HEAD with data.
        HeadWithData;
    HttpNoCookies: /// Sets a cookie.
        Cookie;
    HttpNoHopByHop: /// Sends a hop-by-hop field.
        HopByHop;
    HttpLocation: /// Redirects to elsewhere.
        Redirect;
    HttpUnknownPath: /// Answers an unknown path with a status of gRPC.
        StatusForUnknownPath;
    HttpCaller: /// Takes its caller from a header field.
        CallerFromField;
    HttpReadsToEnd: /// Neither reads a request nor ends the exchange.
        NeitherReadsNorEnds;
    HttpBrokenRequest: /// Completes what broke off.
        CompletesBroken;
    HttpEvents: /// Ends its events at once.
        EventsEnd;
    ManyCalls: /// Takes few calls at once.
        TakesFewCalls;
    CancelledCalls: /// Goes on with what was cancelled.
        KeepsCancelledCalls;
    Deadline: /// Ignores deadlines.
        IgnoresDeadline;
    StalledStream: /// Has a window for the connection that one stream fills.
        SmallWindow;
    BackPressure: /// Keeps what nobody reads.
        Hoards;
    LargeMessages: /// Takes small messages only.
        TakesSmallMessages;
    UnknownFields: /// Refuses unknown fields.
        RefusesUnknownFields;
    EmptyMessage: /// Breaks the connection for an empty message.
        CutByEmpty;
    GarbageMessage: /// Answers garbage by malformed frames.
        MalformedFrames;
    OversizeMessage: /// Breaks the connection for a large message.
        CutByOversize;
    SocketFrames: /// Sends data on a WebSocket.
        DataOnSocket;
    SocketMessages: /// Continues a message that did not begin.
        BadFrame;
    SocketClose: /// Answers no CLOSE.
        NoClose;
    SocketRefused: /// Accepts a WebSocket everywhere.
        SocketsEverywhere;
    ExchangeHello: /// Says something before Hello.
        LateHello;
    ExchangeRanges: /// Takes more data than there may be.
        LargeRange;
    ExchangeTerminal: /// Ends an exchange twice.
        TerminalTwice;
    ExchangeReply: /// Sends the head of a reply again.
        ReplyHeadTwice;
    ExchangeMessage: /// Sends more data than it says.
        LargeReply;
    ExchangeMany: /// Stops reading when there is much to do.
        StopsReading;
    ExchangeCancel: /// Ignores that an exchange is given up.
        IgnoresCancel;
    ExchangeLateCancel: /// Breaks the stream when what is over is given up.
        BreaksOnLateCancel;
    ExchangeCredit: /// Ignores credit.
        IgnoresCredit;
    ExchangeBreach: /// Ends a stream for a breach with another status.
        OtherStatusForBreach;
    ExchangeBreachAlone: /// Breaks the connection for a breach.
        CutByBreach;
    ExchangeEnd: /// Does not end the stream after the host did.
        NeverEnds;
    ToolUnknown: /// Takes an unknown tool for bad arguments.
        UnknownToolInvalid;
    ToolArguments: /// Runs with arguments that do not fit.
        TakesBadArguments;
    ToolResult: /// Has two results.
        TwoResults;
    ToolProgress: /// Goes backwards.
        ProgressBackwards;
    ToolProgressText: /// Tells much beside its progress.
        LongProgress;
    ToolMessage: /// Has an oversize result.
        LargeResult;
    ToolStructured: /// Answers what does not fit its schema.
        UnfitResult;
    ToolAuthorizer: /// Refuses at length.
        LongRefusal;
    TypeUnknown: /// Takes an unknown type for a bad question.
        UnknownTypeInvalid;
    ObjectMetadata: /// Forgets an object's namespace.
        NoNamespace;
    ObjectExists: /// Writes over what is there.
        Overwrites;
    ObjectUnknown: /// Fails on an object that is not there.
        FailsOnUnknown;
    ObjectRemoved: /// Removes nothing.
        RemovesNothing;
    ObjectStale: /// Takes stale changes.
        TakesStale;
    ObjectPatch: /// Ignores patches.
        IgnoresPatch;
    ListLimit: /// Ignores limits.
        IgnoresLimit;
    ListPages: /// Has another order in small pages.
        OtherOrder;
    ListContinue: /// Needs much to find the next page.
        LongContinue;
    ListBadSelector: /// Takes a selector that is none.
        TakesBadSelector;
    ListSelector: /// Ignores selectors.
        IgnoresSelector;
    FileContent: /// Sends other bytes than it told.
        OtherContent;
    FilePieces: /// Sends an empty piece.
        EmptyPiece;
    FileUnknown: /// Has every file.
        EveryFile;
    Settings: /// Refuses settings at length.
        LongReason;
    SettingsTwice: /// Refuses settings the second time.
        RefusesSecondSettings;
    ClusterEventTwice: /// Fails on an event that it knows.
        FailsOnKnownEvent;
    InterceptInTime: /// Never answers as middleware.
        SlowMiddleware;
    InterceptFields: /// Adds a field that is the gateway's.
        AddsForeignField;
    InterceptAnswer: /// Answers more than there may be in a plugin's place.
        LargeAnswer;
    StatusMessage: /// Quotes what it was sent.
        Quotes;
    ResponseMetadata: /// Answers with much metadata.
        LargeMetadata;
    RenewedCertificates: /// Goes on with old certificates.
        KeepsOldCertificates;
    ShutdownInTime: /// Never answers Shutdown.
        SlowShutdown;
    StopHealth: /// Is healthy after it was told to stop.
        StaysServing;
    StopDrain: /// Says no Drain.
        NoDrain;
    StopConnections: /// Takes new connections after it was told to stop.
        TakesNewConnections;
    StopUnderWay: /// Drops what is under way.
        DropsUnderWay;
    StopEnds: /// Does not end.
        Lingers;
}
