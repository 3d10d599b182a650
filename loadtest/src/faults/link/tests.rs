use super::*;

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Answers each connection with what it says; the link in front of it, and where that is.
async fn echo() -> (Link, SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut echoes = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            echoes.spawn(async move {
                let (mut from, mut back) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut back).await;
            });
        }
    });
    let at = TcpListener::bind(loopback()).await.unwrap().local_addr().unwrap();
    (Link::tcp(at, to, Callers::Unasked, Dice::new(1)).await.unwrap(), at, tasks)
}

async fn said_back(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").await.unwrap();
    tokio::time::timeout(Duration::from_millis(300), stream.read_exact(&mut byte)).await.is_ok()
}

#[tokio::test]
async fn a_cut_link_holds_back_what_it_carries_until_it_is_mended() {
    let (link, at, _echo) = echo().await;
    let mut stream = TcpStream::connect(at).await.unwrap();
    assert!(said_back(&mut stream).await);
    link.set(Weather { is_cut: true, ..Weather::default() }, None);
    assert!(!said_back(&mut stream).await);
    let mut late = TcpStream::connect(at).await.unwrap();
    assert!(!said_back(&mut late).await, "nor does it take a new connection anywhere");
    link.set(Weather::default(), None);
    let mut bytes = [0; 1];
    stream.read_exact(&mut bytes).await.unwrap();
    late.read_exact(&mut bytes).await.unwrap();
}

#[tokio::test]
async fn a_slow_link_delays_each_way_and_a_lossy_one_stalls() {
    let (link, at, _echo) = echo().await;
    let mut stream = TcpStream::connect(at).await.unwrap();
    assert!(said_back(&mut stream).await);
    let delay = Duration::from_millis(60);
    for (weather, least) in [
        (Weather { delay, ..Weather::default() }, delay * 2),
        (Weather { lost: 1_000, ..Weather::default() }, AGAIN_AFTER * 2),
    ] {
        link.set(weather, None);
        let started = Instant::now();
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        assert!(started.elapsed() >= least, "{:?} with {weather:?}", started.elapsed());
    }
}

#[tokio::test]
async fn datagrams_find_there_and_back_or_are_lost() {
    let echo = UdpSocket::bind(loopback()).await.unwrap();
    let to = echo.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut byte = [0];
        while let Ok((_, from)) = echo.recv_from(&mut byte).await {
            let _ = echo.send_to(&byte, from).await;
        }
    });
    let at = UdpSocket::bind(loopback()).await.unwrap().local_addr().unwrap();
    let (one, other) = (UdpSocket::bind(loopback()).await.unwrap(), UdpSocket::bind(loopback()).await.unwrap());
    let names = BTreeMap::from([(one.local_addr().unwrap().port(), "node1".to_owned())]);
    let link = Link::udp(at, to, names.into(), Dice::new(1)).await.unwrap();
    let answer = async |socket: &UdpSocket, said: u8| {
        socket.send_to(&[said], at).await.unwrap();
        let mut byte = [0];
        let heard = tokio::time::timeout(Duration::from_millis(500), socket.recv_from(&mut byte)).await;
        heard.ok().map(|_| byte[0])
    };
    assert_eq!((answer(&one, 1).await, answer(&other, 2).await), (Some(1), Some(2)), "each gets its own");
    assert_eq!(link.touched(), 0);
    link.set(Weather { is_cut: true, ..Weather::default() }, Some("node1"));
    assert_eq!((answer(&one, 3).await, answer(&other, 4).await), (None, Some(4)), "only one of them is cut off");
    assert_eq!(link.touched(), 1);
    link.set(Weather { lost: 1_000, ..Weather::default() }, None);
    assert_eq!(answer(&other, 5).await, None);
    link.set(Weather::default(), None);
    assert_eq!(answer(&one, 6).await, Some(6), "and it is not any more");
}
