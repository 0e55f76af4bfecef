BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(1,'journal','2026-11-21 15:29:57',1,X'C08EC7253963FD0037C0DB3F0F39ABFB649297FB28EC00AF7891411EB0D2620DF7E260087424B2F8C9FBDA8364B94DDC',760710);
CREATE TABLE journal (
    seq   INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    kind  TEXT    NOT NULL,
    event TEXT    NOT NULL
) STRICT;
INSERT INTO "journal" VALUES(1,1795274997632,'coordinator-started','{"event":"coordinator-started","grace_ms":30000}');
INSERT INTO "journal" VALUES(2,1795274997932,'run-submitted','{"event":"run-submitted","run":"demo-7c9e04","spec":{"name":"demo","model":{"digest":"blake3:f0e04b39766f8dedc1451b066d16128201c7a124525f281efd04baaa6c7e0d52","bytes":221280,"parameters":55210},"dataset":"demo","trainer":{"kind":"embedded","settings":{"model":{"classes":10,"hidden":[200,200],"inputs":64,"kind":"mlp"},"train":{"batch_size":20,"epochs":2,"learning_rate":0.3,"optimizer":{"kind":"sgd","momentum":0.0,"weight_decay":0.0},"proximal_mu":0.0}}},"rounds":3,"cohort":{"size":3,"over_selection":0,"quorum":3,"staleness_max":0},"deadlines":{"selection_ms":10000,"round_ms":600000},"evaluation":null,"target":null,"placement":{"name":"least-loaded","version":"0.2.0","digest":"sha256:760937de71cb1f5041938a595a2213dd6ea13fbad28e79b6d365d75757edb494","parameters":"{}","on_failure":"builtin","signature":null},"aggregation":{"name":"fedavg","version":"0.2.0","digest":"sha256:63b1bee314a5826574d1a13b9e2216166cba765a2753ba49a22bbc8e5451a8d5","parameters":"{}","on_failure":"builtin","signature":null},"seed":4},"traits":{"shape":"sums","statistics":{"norms":false,"products":false},"updates_min":1,"has_step":false,"state_tensors":0,"training":{"proximal_mu":null,"correction":null,"base_loss":false}}}');
INSERT INTO "journal" VALUES(3,1795274997933,'token-created','{"event":"token-created","token":"212227327c38","secret_hash":"002b9b1b83fcfcb83bb4e85c4bfcb412a59aba4de780505e2936ce57d969cd44","grant":{"role":"worker","region":"eu-west"},"expires_at":1795275597933}');
INSERT INTO "journal" VALUES(4,1795274997935,'token-created','{"event":"token-created","token":"706598ed571e","secret_hash":"0adb476b77f6d476565eb4c09eb3f8b7728e459ca1531f7d6c466e03493694b6","grant":{"role":"worker","region":"us-east"},"expires_at":1795275597935}');
INSERT INTO "journal" VALUES(5,1795274997936,'token-created','{"event":"token-created","token":"688bd23d0f23","secret_hash":"06eed28cb4914406ed1642cc812399ebf8e09eab44ff7a36fcfa611c7886b2fd","grant":{"role":"worker","region":"ap-south"},"expires_at":1795275597936}');
INSERT INTO "journal" VALUES(6,1795274998131,'token-redeemed','{"event":"token-redeemed","token":"688bd23d0f23","applicant":{"secret_hash":"06eed28cb4914406ed1642cc812399ebf8e09eab44ff7a36fcfa611c7886b2fd","key_hash":"8ad6830ceb21601cde88dcce14cc8dd293d61303a00f50547299d59f913c7470","worker":["ap-south-1",null]}}');
INSERT INTO "journal" VALUES(7,1795274998134,'worker-connected','{"event":"worker-connected","worker":"ap-south-1","session":117655142244810752,"capacity":{"slots":1,"datasets":["demo"],"trainers":["embedded","synthetic"]},"holding":[]}');
INSERT INTO "journal" VALUES(8,1795274998147,'token-redeemed','{"event":"token-redeemed","token":"212227327c38","applicant":{"secret_hash":"002b9b1b83fcfcb83bb4e85c4bfcb412a59aba4de780505e2936ce57d969cd44","key_hash":"a31938b3713c4b75b81518dbdd975e0dc0760eaeaea5fd1f75bf38d610fd4589","worker":["eu-west-1",null]}}');
INSERT INTO "journal" VALUES(9,1795274998149,'token-redeemed','{"event":"token-redeemed","token":"706598ed571e","applicant":{"secret_hash":"0adb476b77f6d476565eb4c09eb3f8b7728e459ca1531f7d6c466e03493694b6","key_hash":"2f67c9ac33fcb67e19da3c0866d7570b076898baa6c9c1bd399f89368052219d","worker":["us-east-1",null]}}');
INSERT INTO "journal" VALUES(10,1795274998152,'worker-connected','{"event":"worker-connected","worker":"eu-west-1","session":117655142244810753,"capacity":{"slots":1,"datasets":["demo"],"trainers":["embedded","synthetic"]},"holding":[]}');
INSERT INTO "journal" VALUES(11,1795274998153,'worker-connected','{"event":"worker-connected","worker":"us-east-1","session":117655142244810754,"capacity":{"slots":1,"datasets":["demo"],"trainers":["embedded","synthetic"]},"holding":[]}');
INSERT INTO "journal" VALUES(12,1795274998154,'placement-answered','{"event":"placement-answered","question":1,"policy":"sha256:760937de71cb1f5041938a595a2213dd6ea13fbad28e79b6d365d75757edb494","answer":{"assignments":[{"run":"demo-7c9e04","worker":"eu-west-1","gpu":null,"reason":"least loaded, 1 of 3: 1 of 1 slots free, CPU 77% busy, 0 rounds so far"},{"run":"demo-7c9e04","worker":"us-east-1","gpu":null,"reason":"least loaded, 2 of 3: 1 of 1 slots free, CPU 77% busy, 0 rounds so far"},{"run":"demo-7c9e04","worker":"ap-south-1","gpu":null,"reason":"least loaded, 3 of 3: 1 of 1 slots free, CPU 77% busy, 0 rounds so far"}],"declined":[],"state":[]}}');
INSERT INTO "journal" VALUES(13,1795274998155,'assignment-accepted','{"event":"assignment-accepted","assignment":{"run":"demo-7c9e04","round":1,"worker":"ap-south-1"}}');
INSERT INTO "journal" VALUES(14,1795274998157,'assignment-accepted','{"event":"assignment-accepted","assignment":{"run":"demo-7c9e04","round":1,"worker":"eu-west-1"}}');
INSERT INTO "journal" VALUES(15,1795274998157,'assignment-accepted','{"event":"assignment-accepted","assignment":{"run":"demo-7c9e04","round":1,"worker":"us-east-1"}}');
INSERT INTO "journal" VALUES(16,1795274998180,'update-received','{"event":"update-received","assignment":{"run":"demo-7c9e04","round":1,"worker":"eu-west-1"},"receipt":{"update":"blake3:94b78be712387fc2fe6b409c7a8c5376aa12d5c95329e53e85820ff72c91b6c9","bytes":221280,"examples":480,"loss":0.8986603295749653,"accuracy":0.71875,"evaluation":null,"base_loss":null,"steps":48,"normalizer":48.0,"learning_rate":0.3}}');
INSERT INTO "journal" VALUES(17,1795274998183,'update-received','{"event":"update-received","assignment":{"run":"demo-7c9e04","round":1,"worker":"ap-south-1"},"receipt":{"update":"blake3:b204af160d2245dde5c481fbe8d4cea1abdbf44b1591a3ed3cd0980547f2c200","bytes":221280,"examples":479,"loss":0.6567760836520605,"accuracy":0.7870563674321504,"evaluation":null,"base_loss":null,"steps":48,"normalizer":48.0,"learning_rate":0.3}}');
INSERT INTO "journal" VALUES(18,1795274998190,'update-received','{"event":"update-received","assignment":{"run":"demo-7c9e04","round":1,"worker":"us-east-1"},"receipt":{"update":"blake3:886214f16c0bd758172368d661d0fe51cac2050cee26057a43a74946faed5e5f","bytes":221280,"examples":479,"loss":0.5491427526523339,"accuracy":0.8329853862212944,"evaluation":null,"base_loss":null,"steps":48,"normalizer":48.0,"learning_rate":0.3}}');
INSERT INTO "journal" VALUES(19,1795274998193,'aggregated','{"event":"aggregated","run":"demo-7c9e04","round":1,"receipt":{"model":"blake3:61c93774deb0cf1b50007c5999d6e1404a4c0db9e7cd802a79df7387d9bdc598","bytes":221280,"policy":"sha256:63b1bee314a5826574d1a13b9e2216166cba765a2753ba49a22bbc8e5451a8d5","weights":[0.33310154,0.33379695,0.33310154],"reason":"the mean of 3 updates, weighted by their 1438 training examples","notes":[],"kept":{"tensors":[],"state":[]}}}');
INSERT INTO "journal" VALUES(20,1795274998193,'placement-answered','{"event":"placement-answered","question":2,"policy":"sha256:760937de71cb1f5041938a595a2213dd6ea13fbad28e79b6d365d75757edb494","answer":{"assignments":[{"run":"demo-7c9e04","worker":"eu-west-1","gpu":null,"reason":"least loaded, 1 of 3: 1 of 1 slots free, CPU 77% busy, 1 rounds so far"},{"run":"demo-7c9e04","worker":"us-east-1","gpu":null,"reason":"least loaded, 2 of 3: 1 of 1 slots free, CPU 77% busy, 1 rounds so far"},{"run":"demo-7c9e04","worker":"ap-south-1","gpu":null,"reason":"least loaded, 3 of 3: 1 of 1 slots free, CPU 77% busy, 1 rounds so far"}],"declined":[],"state":[]}}');
INSERT INTO "journal" VALUES(21,1795274998195,'assignment-accepted','{"event":"assignment-accepted","assignment":{"run":"demo-7c9e04","round":2,"worker":"us-east-1"}}');
INSERT INTO "journal" VALUES(22,1795274998196,'assignment-accepted','{"event":"assignment-accepted","assignment":{"run":"demo-7c9e04","round":2,"worker":"ap-south-1"}}');
INSERT INTO "journal" VALUES(23,1795274998196,'assignment-accepted','{"event":"assignment-accepted","assignment":{"run":"demo-7c9e04","round":2,"worker":"eu-west-1"}}');
INSERT INTO "journal" VALUES(24,1795274998217,'update-received','{"event":"update-received","assignment":{"run":"demo-7c9e04","round":2,"worker":"ap-south-1"},"receipt":{"update":"blake3:d90b51220461a09a7e75788ca32da7ee415b329958bd6f2cc952e07061f162e8","bytes":221280,"examples":479,"loss":0.264891020681687,"accuracy":0.9227557411273486,"evaluation":null,"base_loss":null,"steps":48,"normalizer":48.0,"learning_rate":0.3}}');
INSERT INTO "journal" VALUES(25,1795274998220,'update-received','{"event":"update-received","assignment":{"run":"demo-7c9e04","round":2,"worker":"eu-west-1"},"receipt":{"update":"blake3:60b5e211962b7f9a60d8367631ba1403eeb8fb47ab0d7f323eba3b57146beb81","bytes":221280,"examples":480,"loss":0.5411435799041591,"accuracy":0.8375,"evaluation":null,"base_loss":null,"steps":48,"normalizer":48.0,"learning_rate":0.3}}');
INSERT INTO "journal" VALUES(26,1795274998222,'update-received','{"event":"update-received","assignment":{"run":"demo-7c9e04","round":2,"worker":"us-east-1"},"receipt":{"update":"blake3:d37823af5a0f139b4f1606578c9477e3e372aa66e177258e0565b8c52b619756","bytes":221280,"examples":479,"loss":0.21620797804521263,"accuracy":0.941544885177453,"evaluation":null,"base_loss":null,"steps":48,"normalizer":48.0,"learning_rate":0.3}}');
INSERT INTO "journal" VALUES(27,1795274998224,'aggregated','{"event":"aggregated","run":"demo-7c9e04","round":2,"receipt":{"model":"blake3:83331b0d43afdf4032059cb0024d7fdf54ac9711cf621e94ba1866ec70adfba6","bytes":221280,"policy":"sha256:63b1bee314a5826574d1a13b9e2216166cba765a2753ba49a22bbc8e5451a8d5","weights":[0.33310154,0.33379695,0.33310154],"reason":"the mean of 3 updates, weighted by their 1438 training examples","notes":[],"kept":{"tensors":[],"state":[]}}}');
INSERT INTO "journal" VALUES(28,1795274998225,'placement-answered','{"event":"placement-answered","question":3,"policy":"sha256:760937de71cb1f5041938a595a2213dd6ea13fbad28e79b6d365d75757edb494","answer":{"assignments":[{"run":"demo-7c9e04","worker":"eu-west-1","gpu":null,"reason":"least loaded, 1 of 3: 1 of 1 slots free, CPU 77% busy, 2 rounds so far"},{"run":"demo-7c9e04","worker":"us-east-1","gpu":null,"reason":"least loaded, 2 of 3: 1 of 1 slots free, CPU 77% busy, 2 rounds so far"},{"run":"demo-7c9e04","worker":"ap-south-1","gpu":null,"reason":"least loaded, 3 of 3: 1 of 1 slots free, CPU 77% busy, 2 rounds so far"}],"declined":[],"state":[]}}');
INSERT INTO "journal" VALUES(29,1795274998226,'assignment-accepted','{"event":"assignment-accepted","assignment":{"run":"demo-7c9e04","round":3,"worker":"ap-south-1"}}');
INSERT INTO "journal" VALUES(30,1795274998227,'assignment-accepted','{"event":"assignment-accepted","assignment":{"run":"demo-7c9e04","round":3,"worker":"eu-west-1"}}');
INSERT INTO "journal" VALUES(31,1795274998228,'assignment-accepted','{"event":"assignment-accepted","assignment":{"run":"demo-7c9e04","round":3,"worker":"us-east-1"}}');
INSERT INTO "journal" VALUES(32,1795274998251,'update-received','{"event":"update-received","assignment":{"run":"demo-7c9e04","round":3,"worker":"ap-south-1"},"receipt":{"update":"blake3:b02ee9d78d236c1a842fb05222aae0829d9c64dd532cae950959762363bd47d3","bytes":221280,"examples":479,"loss":0.15616121530629762,"accuracy":0.954070981210856,"evaluation":null,"base_loss":null,"steps":48,"normalizer":48.0,"learning_rate":0.3}}');
INSERT INTO "journal" VALUES(33,1795274998252,'update-received','{"event":"update-received","assignment":{"run":"demo-7c9e04","round":3,"worker":"us-east-1"},"receipt":{"update":"blake3:7b26aa4a2e01009b5875f7724456e53ba3f294551762d955bd173a1529d3cc39","bytes":221280,"examples":479,"loss":0.259469670475396,"accuracy":0.9206680584551148,"evaluation":null,"base_loss":null,"steps":48,"normalizer":48.0,"learning_rate":0.3}}');
INSERT INTO "journal" VALUES(34,1795274998252,'update-received','{"event":"update-received","assignment":{"run":"demo-7c9e04","round":3,"worker":"eu-west-1"},"receipt":{"update":"blake3:793d56f21fa6bd6c94f73bf667300ef1866e5a2b47b486fd6ef02e2e10fafe4a","bytes":221280,"examples":480,"loss":0.2608712236079728,"accuracy":0.9291666666666667,"evaluation":null,"base_loss":null,"steps":48,"normalizer":48.0,"learning_rate":0.3}}');
INSERT INTO "journal" VALUES(35,1795274998255,'aggregated','{"event":"aggregated","run":"demo-7c9e04","round":3,"receipt":{"model":"blake3:1020eac0e1829514e409462b0c2b3c9839e5ba13b22920dd004847de5b06c254","bytes":221280,"policy":"sha256:63b1bee314a5826574d1a13b9e2216166cba765a2753ba49a22bbc8e5451a8d5","weights":[0.33310154,0.33379695,0.33310154],"reason":"the mean of 3 updates, weighted by their 1438 training examples","notes":[],"kept":{"tensors":[],"state":[]}}}');
INSERT INTO "journal" VALUES(36,1795274998404,'worker-disconnected','{"event":"worker-disconnected","worker":"us-east-1","session":117655142244810754,"grace_ms":2000,"reason":"it closed its stream"}');
INSERT INTO "journal" VALUES(37,1795274998407,'worker-disconnected','{"event":"worker-disconnected","worker":"ap-south-1","session":117655142244810752,"grace_ms":2000,"reason":"it closed its stream"}');
INSERT INTO "journal" VALUES(38,1795274998407,'worker-disconnected','{"event":"worker-disconnected","worker":"eu-west-1","session":117655142244810753,"grace_ms":2000,"reason":"it closed its stream"}');
CREATE TABLE log (
    seq    INTEGER PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    run    TEXT,
    round  INTEGER,
    worker TEXT,
    kind   TEXT    NOT NULL,
    text   TEXT    NOT NULL
) STRICT;
INSERT INTO "log" VALUES(1,1795274997932,'demo-7c9e04',NULL,NULL,'run-submitted','demo-7c9e04 submitted: 3 rounds on `demo`');
INSERT INTO "log" VALUES(2,1795274998131,NULL,NULL,'ap-south-1','worker-enrolled','ap-south-1 enrolled for region ap-south');
INSERT INTO "log" VALUES(3,1795274998134,NULL,NULL,'ap-south-1','worker-connected','ap-south-1 of ap-south connected');
INSERT INTO "log" VALUES(4,1795274998147,NULL,NULL,'eu-west-1','worker-enrolled','eu-west-1 enrolled for region eu-west');
INSERT INTO "log" VALUES(5,1795274998149,NULL,NULL,'us-east-1','worker-enrolled','us-east-1 enrolled for region us-east');
INSERT INTO "log" VALUES(6,1795274998152,NULL,NULL,'eu-west-1','worker-connected','eu-west-1 of eu-west connected');
INSERT INTO "log" VALUES(7,1795274998153,NULL,NULL,'us-east-1','worker-connected','us-east-1 of us-east connected');
INSERT INTO "log" VALUES(8,1795274998154,'demo-7c9e04',1,NULL,'cohort-chosen','training on eu-west-1, us-east-1, ap-south-1: chosen by least-loaded@0.2.0 (sha256:760937de71cb) for round 1');
INSERT INTO "log" VALUES(9,1795274998180,'demo-7c9e04',1,'eu-west-1','update-received','eu-west-1 sent its update: 480 examples, loss 0.8987, 221280 bytes');
INSERT INTO "log" VALUES(10,1795274998183,'demo-7c9e04',1,'ap-south-1','update-received','ap-south-1 sent its update: 479 examples, loss 0.6568, 221280 bytes');
INSERT INTO "log" VALUES(11,1795274998190,'demo-7c9e04',1,'us-east-1','update-received','us-east-1 sent its update: 479 examples, loss 0.5491, 221280 bytes');
INSERT INTO "log" VALUES(12,1795274998190,'demo-7c9e04',1,NULL,'reporting-closed','3 of 3 wanted updates are in');
INSERT INTO "log" VALUES(13,1795274998193,'demo-7c9e04',1,NULL,'round-committed','round 1 committed model version 1, aggregated by fedavg@0.2.0 (sha256:63b1bee314a5): the mean of 3 updates, weighted by their 1438 training examples');
INSERT INTO "log" VALUES(14,1795274998193,'demo-7c9e04',2,NULL,'cohort-chosen','training on eu-west-1, us-east-1, ap-south-1: chosen by least-loaded@0.2.0 (sha256:760937de71cb) for round 2');
INSERT INTO "log" VALUES(15,1795274998217,'demo-7c9e04',2,'ap-south-1','update-received','ap-south-1 sent its update: 479 examples, loss 0.2649, 221280 bytes');
INSERT INTO "log" VALUES(16,1795274998220,'demo-7c9e04',2,'eu-west-1','update-received','eu-west-1 sent its update: 480 examples, loss 0.5411, 221280 bytes');
INSERT INTO "log" VALUES(17,1795274998222,'demo-7c9e04',2,'us-east-1','update-received','us-east-1 sent its update: 479 examples, loss 0.2162, 221280 bytes');
INSERT INTO "log" VALUES(18,1795274998222,'demo-7c9e04',2,NULL,'reporting-closed','3 of 3 wanted updates are in');
INSERT INTO "log" VALUES(19,1795274998224,'demo-7c9e04',2,NULL,'round-committed','round 2 committed model version 2, aggregated by fedavg@0.2.0 (sha256:63b1bee314a5): the mean of 3 updates, weighted by their 1438 training examples');
INSERT INTO "log" VALUES(20,1795274998225,'demo-7c9e04',3,NULL,'cohort-chosen','training on eu-west-1, us-east-1, ap-south-1: chosen by least-loaded@0.2.0 (sha256:760937de71cb) for round 3');
INSERT INTO "log" VALUES(21,1795274998251,'demo-7c9e04',3,'ap-south-1','update-received','ap-south-1 sent its update: 479 examples, loss 0.1562, 221280 bytes');
INSERT INTO "log" VALUES(22,1795274998252,'demo-7c9e04',3,'us-east-1','update-received','us-east-1 sent its update: 479 examples, loss 0.2595, 221280 bytes');
INSERT INTO "log" VALUES(23,1795274998252,'demo-7c9e04',3,'eu-west-1','update-received','eu-west-1 sent its update: 480 examples, loss 0.2609, 221280 bytes');
INSERT INTO "log" VALUES(24,1795274998252,'demo-7c9e04',3,NULL,'reporting-closed','3 of 3 wanted updates are in');
INSERT INTO "log" VALUES(25,1795274998255,'demo-7c9e04',3,NULL,'round-committed','round 3 committed model version 3, aggregated by fedavg@0.2.0 (sha256:63b1bee314a5): the mean of 3 updates, weighted by their 1438 training examples');
INSERT INTO "log" VALUES(26,1795274998255,'demo-7c9e04',NULL,NULL,'run-completed','demo-7c9e04 completed: 3 rounds committed');
INSERT INTO "log" VALUES(27,1795274998404,NULL,NULL,'us-east-1','worker-disconnected','us-east-1 disconnected: it closed its stream');
INSERT INTO "log" VALUES(28,1795274998407,NULL,NULL,'ap-south-1','worker-disconnected','ap-south-1 disconnected: it closed its stream');
INSERT INTO "log" VALUES(29,1795274998407,NULL,NULL,'eu-west-1','worker-disconnected','eu-west-1 disconnected: it closed its stream');
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('created_ms','1795274997627');
INSERT INTO "meta" VALUES('written_by','0.1.0');
CREATE INDEX log_by_run ON log (run, seq);
COMMIT;
